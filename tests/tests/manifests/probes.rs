//! Probes, asked of the running programs.

use std::time::Duration;

use serde_json::Value;
use tests::cluster::{Binaries, Cluster, Plan, Pod, Service};

use crate::documents::{at, number, text};
use crate::program::{Program, everywhere};

const PROBES: [&str; 3] = ["/startupProbe", "/readinessProbe", "/livenessProbe"];

/// From the first failure to the verdict.
fn patience(probe: &Value) -> Duration {
    Duration::from_secs(number(probe, "/periodSeconds") * number(probe, "/failureThreshold"))
}

fn pod_of(cluster: &mut Cluster, service: Service) -> &mut Pod {
    match service {
        Service::Account => &mut cluster.account[0],
        Service::Order => &mut cluster.order[0],
    }
}

async fn status(pod: &Pod, program: &Program, probe: &str) -> u16 {
    let path = text(program.container, &format!("{probe}/httpGet/path"));
    pod.get(path).await.expect("the admin server answers until the end").0
}

/// The database stays, so what is asked for here is the programs' part: a pod that serves is
/// started, ready and alive, and one that leaves is not ready, yet started and alive.
#[tokio::test(flavor = "multi_thread")]
async fn the_programs_answer_every_probe_and_readiness_alone_turns_when_they_leave() {
    let flags = ["--lame-duck", "1h"].map(str::to_owned).to_vec();
    let (account_flags, order_flags) = (flags.clone(), flags);
    let plan = Plan { account_pods: 1, order_pods: 1, account_flags, order_flags, databases: None };
    let mut cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
    for program in everywhere() {
        let pod = pod_of(&mut cluster, program.service);
        for probe in PROBES {
            assert_eq!(status(pod, &program, probe).await, 200, "{probe} of {}", pod.name());
        }
    }
    for service in crate::program::SERVICES {
        let pod = pod_of(&mut cluster, service);
        pod.terminate();
        pod.wait_health(503).await.unwrap();
    }
    for program in everywhere() {
        let pod = pod_of(&mut cluster, program.service);
        for (probe, expected) in PROBES.into_iter().zip([200, 503, 200]) {
            assert_eq!(status(pod, &program, probe).await, expected, "{probe} of {}", pod.name());
        }
    }
}

#[test]
fn probes_ask_the_port_of_the_admin_server() {
    for program in everywhere() {
        let admin = u64::from(program.serve.admin_listen.port());
        for probe in PROBES {
            let port = text(program.container, &format!("{probe}/httpGet/port"));
            assert_eq!(program.port(port), admin, "{probe} of {}", program.service.name());
        }
    }
}

#[test]
fn readiness_is_asked_as_document_a_has_it() {
    for program in everywhere() {
        let probe = at(program.container, "/readinessProbe");
        assert_eq!(number(probe, "/initialDelaySeconds"), 5);
        assert_eq!(number(probe, "/periodSeconds"), 3);
        assert_eq!(number(probe, "/timeoutSeconds"), 2);
        assert_eq!(number(probe, "/failureThreshold"), 3);
    }
}

#[test]
fn a_pod_that_waits_for_its_database_is_reported_before_it_is_restarted() {
    for program in everywhere() {
        let startup = patience(at(program.container, "/startupProbe"));
        let progress = number(program.deployment, "/spec/progressDeadlineSeconds");
        assert!(startup >= Duration::from_secs(60), "{startup:?}");
        assert!(startup < Duration::from_secs(progress), "{startup:?} of {progress} s");
    }
}
