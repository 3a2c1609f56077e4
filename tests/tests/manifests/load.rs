//! The Job that shows what a roll-out does to callers.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::cluster::Service;

use crate::documents::{Documents, Overlay, at, file, list, number, text};
use crate::network::reaches;
use crate::program::Program;

/// The Job's pod, and its flags by name.
fn load() -> (Value, BTreeMap<String, String>) {
    let job = Documents::render("load").one("Job", "load").clone();
    let [container] = list(&job, "/spec/template/spec/containers") else { panic!("one container") };
    let flag = |argument: &Value| {
        let (name, value) = argument.as_str().unwrap().split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    let flags = list(container, "/args").iter().map(flag).collect();
    (job, flags)
}

#[test]
fn the_load_calls_both_services_where_they_are_and_is_let_through() {
    let (job, flags) = load();
    let labels = at(&job, "/spec/template/metadata/labels");
    for overlay in Overlay::ALL {
        let targets = [("--target", Service::Order), ("--account-target", Service::Account)];
        for (flag, service) in targets {
            let program = Program::of(overlay, service);
            let port = program.port("grpc");
            assert_eq!(flags[flag], format!("{}:{port}", service.name()));
            let both = overlay.documents().with(&Documents::render("load"));
            assert!(reaches(&both, labels, program.labels(), port));
        }
    }
}

#[test]
fn without_its_job_the_load_is_let_through_to_account_service_no_more_than_anybody() {
    let (job, _) = load();
    let labels = at(&job, "/spec/template/metadata/labels");
    for overlay in Overlay::ALL {
        let account = Program::of(overlay, Service::Account);
        assert!(!reaches(overlay.documents(), labels, account.labels(), account.port("grpc")));
    }
}

#[test]
fn the_load_is_not_ended_before_its_time_and_never_begun_again() {
    let (job, flags) = load();
    let minutes: u64 = flags["--minutes"].parse().unwrap();
    assert!(number(&job, "/spec/activeDeadlineSeconds") >= minutes * 60 + 240);
    assert_eq!(number(&job, "/spec/backoffLimit"), 0);
    assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "Never");
}

#[test]
fn the_load_runs_an_image_of_the_dockerfile_locked_as_the_services_are() {
    let (job, _) = load();
    let pod = at(&job, "/spec/template/spec");
    let [container] = list(pod, "/containers") else { panic!("one container") };
    assert_eq!(text(container, "/image"), "holdfast/rollout:local");
    assert!(file("Dockerfile").contains("\nFROM runtime AS rollout\n"));
    let service = Program::of(Overlay::Local, Service::Order);
    assert_eq!(pod["securityContext"], service.pod["securityContext"]);
    assert_eq!(container["securityContext"], service.container["securityContext"]);
    assert_eq!(pod["automountServiceAccountToken"], json!(false));
}
