//! The CronJob that sends crowds of duplicates to the live pair each month (B11).

use serde_json::Value;
use tests::cluster::Service;

use crate::documents::{Documents, Overlay, at, file, list, number, text};
use crate::network::reaches;
use crate::program::Program;

const JOB: &str = "/spec/jobTemplate/spec";

fn job() -> Value {
    let cron_job = Documents::render("duplicates").one("CronJob", "duplicates").clone();
    at(&cron_job, JOB).clone()
}

#[test]
fn the_crowds_reach_both_services_where_they_are() {
    let job = job();
    let labels = at(&job, "/template/metadata/labels");
    let [container] = list(&job, "/template/spec/containers") else { panic!("one container") };
    let arguments: Vec<_> = list(container, "/args").iter().filter_map(Value::as_str).collect();
    for overlay in Overlay::ALL {
        let targets = [("--target", Service::Order), ("--account-target", Service::Account)];
        for (flag, service) in targets {
            let program = Program::of(overlay, service);
            let port = program.port("grpc");
            let target = format!("{flag}={}:{port}", service.name());
            assert!(arguments.contains(&target.as_str()), "{target} in {arguments:?}");
            let both = overlay.documents().with(&Documents::render("duplicates"));
            assert!(reaches(&both, labels, program.labels(), port));
            assert!(
                service == Service::Order
                    || !reaches(overlay.documents(), labels, program.labels(), port)
            );
        }
    }
}

#[test]
fn a_month_that_failed_is_neither_repeated_nor_forgotten() {
    let cron_job = Documents::render("duplicates").one("CronJob", "duplicates").clone();
    assert_eq!(text(&cron_job, "/spec/concurrencyPolicy"), "Forbid");
    assert_eq!(number(&cron_job, "/spec/failedJobsHistoryLimit"), 12);
    let job = job();
    assert_eq!(number(&job, "/backoffLimit"), 0);
    assert_eq!(text(&job, "/template/spec/restartPolicy"), "Never");
}

#[test]
fn the_program_is_in_its_image_and_locked_as_the_services_are() {
    let job = job();
    let [container] = list(&job, "/template/spec/containers") else { panic!("one container") };
    assert_eq!(text(container, "/image"), "holdfast/rollout:local");
    assert_eq!(text(container, "/command/0"), "/usr/local/bin/load");
    assert!(
        file("Dockerfile")
            .contains("COPY --from=tools /programs/rollout /programs/load /usr/local/bin/\n")
    );
    let service = Program::of(Overlay::Local, Service::Order);
    assert_eq!(at(&job, "/template/spec/securityContext"), &service.pod["securityContext"]);
    assert_eq!(container["securityContext"], service.container["securityContext"]);
}
