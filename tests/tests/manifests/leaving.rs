//! The arithmetic of leaving, which k8s/README.md draws.

use std::net::Ipv4Addr;
use std::time::Duration;

use order_service::service::FLIGHTS_TIMEOUT;
use server::{CUT, STOP_TIMEOUT, ServeConfig};
use tests::cluster::Service;

use crate::documents::{Overlay, file, number};
use crate::program::{Program, everywhere};

/// What must be left of the grace when everything took as long as it may.
const MARGIN: Duration = Duration::from_secs(3);

/// CoreDNS lets an address be remembered for so long unless it is told otherwise.
const DNS_TTL: Duration = Duration::from_secs(5);

fn seconds(value: &serde_json::Value, pointer: &str) -> Duration {
    Duration::from_secs(number(value, pointer))
}

fn pre_stop(program: &Program) -> Duration {
    seconds(program.container, "/lifecycle/preStop/sleep/seconds")
}

/// The bounds on what a program does after the drain timeout: connections are cut off, then background tasks end, and an
/// order whose caller left is brought to a decision.
fn afterwards(service: Service) -> Duration {
    let source = file(&format!("{}/src/service.rs", service.name()));
    let tasks = source.matches(" stopped(\"").count();
    let tasks = STOP_TIMEOUT * u32::try_from(tasks).unwrap();
    match service {
        Service::Account => CUT + tasks,
        Service::Order => CUT + tasks + FLIGHTS_TIMEOUT,
    }
}

#[test]
fn the_grace_covers_everything_that_happens_before_sigkill() {
    for program in everywhere() {
        let grace = seconds(program.pod, "/terminationGracePeriodSeconds");
        let ServeConfig { lame_duck, drain_timeout, .. } = program.serve;
        let afterwards = afterwards(program.service);
        let needed = pre_stop(&program) + lame_duck + drain_timeout + afterwards + MARGIN;
        assert!(needed <= grace, "{}: {needed:?} of {grace:?}", program.service.name());
    }
}

#[test]
fn what_comes_after_the_drain_is_bounded_as_the_manifests_count_it() {
    assert_eq!(afterwards(Service::Account), Duration::from_secs(1 + 2 * 3));
    assert_eq!(afterwards(Service::Order), Duration::from_secs(1 + 5 * 3 + 8));
}

#[test]
fn sigterm_waits_until_the_address_is_forgotten() {
    for program in everywhere() {
        assert!(pre_stop(&program) >= 2 * DNS_TTL, "{}", program.service.name());
    }
}

#[test]
fn the_longest_call_fits_into_the_drain() {
    for program in everywhere() {
        assert!(program.serve.default_deadline < program.serve.drain_timeout);
    }
}

#[test]
fn what_the_manifests_say_is_what_the_flags_default_to() {
    for program in everywhere() {
        let port = |name| u16::try_from(program.port(name)).unwrap();
        let mut defaults = ServeConfig::on_ports(port("grpc"), port("admin"));
        // Reached from other pods.
        defaults.listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        // Files have no default: production names them.
        assert_eq!(program.serve.tls.is_some(), program.overlay == Overlay::Production);
        assert_eq!(ServeConfig { tls: None, ..program.serve }, defaults);
    }
}

#[test]
fn a_new_pod_comes_before_an_old_one_goes() {
    for program in everywhere() {
        let strategy = &program.deployment["spec"]["strategy"];
        assert_eq!(strategy["type"], "RollingUpdate");
        assert_eq!(number(strategy, "/rollingUpdate/maxUnavailable"), 0);
        assert_eq!(number(strategy, "/rollingUpdate/maxSurge"), 1);
    }
}

#[test]
fn the_timeline_in_the_readme_has_these_numbers() {
    let readme = file("k8s/README.md");
    for service in crate::program::SERVICES {
        let program = Program::of(Overlay::Production, service);
        let ServeConfig { lame_duck, drain_timeout, .. } = program.serve;
        let row = format!(
            "| {} | {} | {} | {} | {} | {} |",
            service.name(),
            pre_stop(&program).as_secs(),
            lame_duck.as_secs(),
            drain_timeout.as_secs(),
            afterwards(service).as_secs(),
            number(program.pod, "/terminationGracePeriodSeconds"),
        );
        assert!(readme.contains(&row), "k8s/README.md lacks {row}");
    }
}
