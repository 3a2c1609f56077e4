//! Whether PostgreSQL takes as many connections as pods may open, and its passwords.

use std::collections::BTreeMap;

use crate::documents::{Overlay, file, list, named, number, text};
use crate::program::{Program, SERVICES};

/// What PostgreSQL keeps for its superuser (`superuser_reserved_connections`).
const RESERVED: u64 = 3;

/// Connections a service may have at one moment. In a roll-out all pods of the old version may
/// still be leaving while all of the new one are there, and one more.
fn connections_max(program: &Program) -> u64 {
    let name = program.service.name();
    let autoscaler = program.documents().one("HorizontalPodAutoscaler", name);
    (2 * number(autoscaler, "/spec/maxReplicas") + 1) * program.connections
}

/// `max_connections` of the server at a host.
fn allowed(overlay: Overlay, host: &str) -> u64 {
    let documents = overlay.documents();
    match overlay {
        Overlay::Local => {
            let set = documents.one("StatefulSet", host);
            let server = named(list(set, "/spec/template/spec/containers"), "postgresql");
            let arguments = list(server, "/args").iter().filter_map(|argument| argument.as_str());
            let set = |argument: &str| argument.strip_prefix("max_connections=")?.parse().ok();
            arguments.into_iter().find_map(set).expect("max_connections is set")
        }
        Overlay::Production => {
            let (name, _) = host.split_once("-rw.").unwrap();
            let cluster = documents.one("Cluster", name);
            text(cluster, "/spec/postgresql/parameters/max_connections").parse().unwrap()
        }
    }
}

#[test]
fn postgresql_takes_all_pods_that_can_be_there_at_once() {
    for overlay in Overlay::ALL {
        let mut wanted = BTreeMap::<String, u64>::new();
        for program in SERVICES.map(|service| Program::of(overlay, service)) {
            let host = program.database.get_host().to_owned();
            *wanted.entry(host).or_default() += connections_max(&program);
        }
        for (host, wanted) in wanted {
            let (wanted, allowed) = (wanted + RESERVED, allowed(overlay, &host));
            assert!(wanted <= allowed, "{host}: {wanted} of {allowed} connections");
            let row = format!(" + {RESERVED} = {wanted} | {allowed} |");
            assert!(file("k8s/README.md").contains(&row), "k8s/README.md lacks {row}");
        }
    }
}

#[test]
fn each_service_has_a_database_that_the_other_does_not() {
    for overlay in Overlay::ALL {
        let [account, order] = SERVICES.map(|service| Program::of(overlay, service).database);
        assert_ne!(account.get_database(), order.get_database());
        assert_ne!(account.get_username(), order.get_username());
    }
}

#[test]
fn the_local_databases_are_made_with_the_passwords_that_the_pods_are_told() {
    let made = file("k8s/overlays/local/databases.sql");
    let told = file("k8s/overlays/local/kustomization.yaml");
    for service in SERVICES {
        let database = Program::of(Overlay::Local, service).database;
        let (user, name) = (database.get_username(), database.get_database().unwrap());
        let url = told.split_once(&format!("uri=postgres://{user}:")).unwrap().1;
        let (password, _) = url.split_once('@').unwrap();
        let role = format!("ALTER ROLE {user} PASSWORD '{password}';");
        assert!(made.contains(&role), "databases.sql lacks {role}");
        assert!(made.contains(&format!("CREATE DATABASE {name} OWNER {user}'")));
    }
}

#[test]
fn in_production_a_commit_is_on_two_machines_and_only_who_has_it_may_become_the_primary() {
    let clusters: Vec<_> = Overlay::Production.documents().of("Cluster").collect();
    assert_eq!(clusters.len(), SERVICES.len());
    for cluster in clusters {
        let synchronous = &cluster["spec"]["postgresql"]["synchronous"];
        assert_eq!(number(cluster, "/spec/instances"), 3);
        assert_eq!(number(synchronous, "/number"), 1);
        assert_eq!(synchronous["dataDurability"], "required");
        assert_eq!(synchronous["failoverQuorum"], true);
    }
}
