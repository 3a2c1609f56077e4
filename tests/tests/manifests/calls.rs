//! Who calls whom: names, ports, and what the network policies let through.

use serde_json::{Value, json};
use tests::cluster::Service;

use crate::documents::{Documents, Overlay, list, named, number, text};
use crate::network::{lets_in, outsiders_reach, reaches, reaches_anybody};
use crate::program::{Program, SERVICES, everywhere};

const POSTGRESQL: u64 = 5432;
const DNS: u64 = 53;

/// The Services of a program: for callers that balance, and for those that do not.
fn services(program: &Program) -> [&'static Value; 2] {
    let name = program.service.name();
    let documents = program.documents();
    [documents.one("Service", &format!("{name}-headless")), documents.one("Service", name)]
}

/// The labels of the pods of the database that a program uses.
fn database_labels(program: &Program) -> Value {
    let host = program.database.get_host();
    match program.overlay {
        Overlay::Local => {
            let set = program.documents().one("StatefulSet", host);
            set["spec"]["template"]["metadata"]["labels"].clone()
        }
        Overlay::Production => {
            let cluster = cluster_of(program.documents(), host);
            let mut labels = cluster["spec"]["inheritedMetadata"]["labels"].clone();
            // The operator's own.
            labels["cnpg.io/cluster"] = cluster["metadata"]["name"].clone();
            labels["app.kubernetes.io/component"] = json!("database");
            labels
        }
    }
}

/// CloudNativePG calls the Service of a Cluster's primary `NAME-rw`.
fn cluster_of<'value>(documents: &'value Documents, host: &str) -> &'value Value {
    let (name, _) = host.split_once("-rw.").unwrap_or_else(|| panic!("{host} is no primary's"));
    documents.one("Cluster", name)
}

/// A pod of the namespace that has nothing to do with any of this.
fn stranger() -> Value {
    json!({ "app.kubernetes.io/name": "stranger", "app.kubernetes.io/part-of": "holdfast" })
}

#[test]
fn every_service_leads_to_the_port_its_program_listens_on_and_to_no_other_program() {
    for program in everywhere() {
        let listens = u64::from(program.serve.listen.port());
        for service in services(&program) {
            let port = named(list(service, "/spec/ports"), "grpc");
            assert_eq!(number(port, "/port"), listens);
            assert_eq!(program.port(text(port, "/targetPort")), listens);
            let selector = service["spec"]["selector"].as_object().unwrap();
            let chooses =
                |labels: &Value| selector.iter().all(|(key, value)| &labels[key] == value);
            for other in SERVICES.map(|service| Program::of(program.overlay, service)) {
                assert_eq!(chooses(other.labels()), other.service == program.service);
            }
        }
    }
}

#[test]
fn the_headless_service_answers_with_pods_and_only_with_those_that_are_ready() {
    for program in everywhere() {
        let [headless, cluster_ip] = services(&program);
        assert_eq!(headless["spec"]["clusterIP"], "None");
        assert_eq!(headless["spec"]["publishNotReadyAddresses"], false);
        assert_eq!(cluster_ip["spec"]["clusterIP"], Value::Null);
        assert_eq!(cluster_ip["spec"]["type"], "ClusterIP");
    }
}

#[test]
fn order_service_balances_over_the_pods_of_account_service() {
    for overlay in Overlay::ALL {
        let order = Program::of(overlay, Service::Order);
        let [headless, _] = services(&Program::of(overlay, Service::Account));
        let port = named(list(headless, "/spec/ports"), "grpc");
        let expected =
            format!("dns:///{}:{}", text(headless, "/metadata/name"), number(port, "/port"));
        assert_eq!(order.account_target, Some(expected));
    }
}

#[test]
fn whoever_has_to_call_is_let_through() {
    for overlay in Overlay::ALL {
        let documents = overlay.documents();
        let [account, order] = SERVICES.map(|service| Program::of(overlay, service));
        assert!(reaches(documents, order.labels(), account.labels(), account.port("grpc")));
        assert!(lets_in(documents, order.labels(), &stranger(), order.port("grpc")));
        assert!(outsiders_reach(documents, order.labels(), order.port("grpc")));
        for program in [&account, &order] {
            let database = database_labels(program);
            assert!(reaches(documents, program.labels(), &database, POSTGRESQL));
            assert_eq!(u64::from(program.database.get_port()), POSTGRESQL);
            assert!(reaches_anybody(documents, program.labels(), DNS));
        }
    }
}

#[test]
fn nobody_else_is() {
    for overlay in Overlay::ALL {
        let documents = overlay.documents();
        let [account, order] = SERVICES.map(|service| Program::of(overlay, service));
        let refused = |from: &Value, to: &Value, port| assert!(!reaches(documents, from, to, port));
        refused(&stranger(), account.labels(), account.port("grpc"));
        refused(account.labels(), order.labels(), order.port("grpc"));
        assert!(!outsiders_reach(documents, account.labels(), account.port("grpc")));
        for program in [&account, &order] {
            refused(&stranger(), program.labels(), program.port("admin"));
            refused(&stranger(), &database_labels(program), POSTGRESQL);
            assert!(!outsiders_reach(documents, &database_labels(program), POSTGRESQL));
            assert!(!reaches_anybody(documents, program.labels(), 443));
        }
        // Nor anybody at all, where a pod was forgotten when the policies were written.
        refused(&stranger(), &stranger(), 80);
        assert!(!outsiders_reach(documents, &stranger(), 80));
        assert!(!reaches_anybody(documents, &stranger(), 443));
        if overlay == Overlay::Production {
            refused(account.labels(), &database_labels(&order), POSTGRESQL);
            refused(order.labels(), &database_labels(&account), POSTGRESQL);
        }
    }
}

#[test]
fn prometheus_is_let_through_to_the_metrics_of_both() {
    for program in everywhere() {
        let policy = program.documents().one("NetworkPolicy", program.service.name());
        let expected = json!({
            "from": [{ "namespaceSelector": {
                "matchLabels": { "kubernetes.io/metadata.name": "monitoring" },
            } }],
            "ports": [{ "port": program.port("admin") }],
        });
        assert!(list(policy, "/spec/ingress").contains(&expected));
    }
}
