//! The Job that checks the books.

use clap::CommandFactory;
use holdfast_verify::args::Args;
use serde_json::{Value, json};
use tests::cluster::Service;

use crate::documents::{Documents, Overlay, at, file, list, named, text};
use crate::network::reaches;
use crate::program::Program;

fn verify() -> Documents {
    Documents::render("verify")
}

fn container(job: &Value) -> &Value {
    let [container] = list(job, "/spec/template/spec/containers") else { panic!("one container") };
    container
}

#[test]
fn what_the_check_of_the_books_is_told_are_flags_of_it_and_secrets_of_the_services() {
    let documents = verify();
    let container = container(documents.one("Job", "holdfast-verify"));
    let program = Args::command();
    for variable in list(container, "/env") {
        let name = text(variable, "/name");
        let known = |flag: &clap::Arg| flag.get_env().is_some_and(|env| env == name);
        assert!(program.get_arguments().any(known), "{name} is no flag");
    }
    for argument in list(container, "/args") {
        let flags = [container["image"].as_str().unwrap(), argument.as_str().unwrap()];
        let asked = program.clone().ignore_errors(true).try_get_matches_from(flags);
        assert!(asked.is_ok(), "{argument}: {asked:?}");
    }
    for (variable, service) in
        [("ACCOUNT_DATABASE_URL", Service::Account), ("ORDER_DATABASE_URL", Service::Order)]
    {
        let variable = named(list(container, "/env"), variable);
        for overlay in Overlay::ALL {
            let program = Program::of(overlay, service);
            let (secret, key) = program.secret_of("DATABASE_URL_FILE");
            let expected = json!({ "secretKeyRef": { "name": secret, "key": key } });
            assert_eq!(variable["valueFrom"], expected, "{overlay:?}");
        }
    }
}

#[test]
fn the_check_of_the_books_is_let_through_to_both_services() {
    let documents = verify();
    let job = documents.one("Job", "holdfast-verify");
    let labels = at(job, "/spec/template/metadata/labels");
    for (variable, service) in
        [("ACCOUNT_TARGET", Service::Account), ("ORDER_TARGET", Service::Order)]
    {
        let target = text(named(list(container(job), "/env"), variable), "/value");
        for overlay in Overlay::ALL {
            let program = Program::of(overlay, service);
            let port = program.port("grpc");
            assert_eq!(target, format!("dns:///{}:{port}", service.name()));
            let both = overlay.documents().with(&documents);
            assert!(reaches(&both, labels, program.labels(), port), "{overlay:?}");
        }
    }
    let database = json!({ "app.kubernetes.io/component": "database" });
    assert!(reaches(&documents, labels, &database, 5432));
}

#[test]
fn the_check_of_the_books_runs_an_image_of_the_dockerfile_once_and_locked() {
    let documents = verify();
    let job = documents.one("Job", "holdfast-verify");
    let (pod, container) = (at(job, "/spec/template/spec"), container(job));
    assert_eq!(text(container, "/image"), "holdfast/holdfast-verify:local");
    assert!(file("Dockerfile").contains("\nFROM runtime AS holdfast-verify\n"));
    let service = Program::of(Overlay::Local, Service::Order);
    assert_eq!(pod["securityContext"], service.pod["securityContext"]);
    assert_eq!(container["securityContext"], service.container["securityContext"]);
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(job["spec"]["backoffLimit"], 0);
}
