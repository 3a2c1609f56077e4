//! The component that puts Redis in front of order-service.

use std::fs;

use serde_json::{Value, json};
use tests::cluster::Service;

use crate::documents::{Documents, Overlay, at, list, named, text, workspace};
use crate::environment::mounted;
use crate::network::{reaches, reaches_anybody};
use crate::program::Program;

const REDIS: u64 = 6379;

/// An overlay with the component, as a user would write it.
fn with_redis(overlay: &str) -> Documents {
    let directory = format!("target/manifests/redis-{overlay}");
    fs::create_dir_all(workspace(&directory)).unwrap();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [format!("../../../k8s/overlays/{overlay}")],
        "components": ["../../../k8s/components/redis"],
    });
    let file = workspace(&directory).join("kustomization.yaml");
    fs::write(file, kustomization.to_string()).unwrap();
    Documents::render(&format!("../{directory}"))
}

fn redis() -> Value {
    json!({ "app.kubernetes.io/name": "redis", "app.kubernetes.io/component": "redis" })
}

#[test]
fn where_redis_is_configured_order_service_alone_is_told_where_it_is_and_let_through() {
    for (overlay, name) in [(Overlay::Local, "local"), (Overlay::Production, "production")] {
        let documents = with_redis(name);
        let deployment = documents.one("Deployment", "order-service");
        let [container] = list(deployment, "/spec/template/spec/containers") else {
            panic!("one container")
        };
        let path = text(named(list(container, "/env"), "REDIS_URL_FILE"), "/value");
        let pod = at(deployment, "/spec/template/spec");
        assert_eq!(mounted(pod, container, path), Some(("order-redis", "uri")));

        let order = Program::of(overlay, Service::Order);
        let account = Program::of(overlay, Service::Account);
        assert!(reaches(&documents, order.labels(), &redis(), REDIS));
        assert!(!reaches(&documents, account.labels(), &redis(), REDIS));
        assert!(!reaches_anybody(&documents, order.labels(), REDIS));
        // What was let through before still is.
        assert!(reaches(&documents, order.labels(), account.labels(), account.port("grpc")));
    }
}

#[test]
fn without_the_component_nothing_leads_to_redis() {
    for overlay in Overlay::ALL {
        let order = Program::of(overlay, Service::Order);
        assert!(!reaches(overlay.documents(), order.labels(), &redis(), REDIS));
    }
}

/// The variable is a flag of the program.
#[test]
fn order_service_reads_the_variable_that_the_component_sets() {
    let command = <order_service::args::Args as clap::CommandFactory>::command();
    assert!(
        command
            .get_arguments()
            .any(|flag| flag.get_env().is_some_and(|name| name == "REDIS_URL_FILE"))
    );
}
