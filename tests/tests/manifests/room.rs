//! Whether a small node has room for the local overlay, with the load and a roll of everything.

use serde_json::Value;

use crate::documents::{Documents, Overlay, at, file, list, number, text};
use crate::program::{Program, SERVICES};

/// The smallest node that k8s/README.md promises to do.
const NODE: Request = Request { cpu_m: 2_000, memory_mi: 4_096 };

/// What a single node's own pods ask for at most: kind's. kube-apiserver 250m, kube-controller-manager 200m,
/// kube-scheduler, etcd, kindnet and two of CoreDNS 100m each; 100 MiB, 50 MiB and twice 70 MiB of the last three.
const SYSTEM: Request = Request { cpu_m: 950, memory_mi: 290 };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Request {
    cpu_m: u64,
    memory_mi: u64,
}

impl Request {
    /// As the scheduler counts a pod: its containers together, or its greatest init container.
    fn of_pod(pod: &Value) -> Self {
        let containers = list(pod, "/containers").iter().map(Self::of_container);
        let init = pod["initContainers"].as_array().into_iter().flatten().map(Self::of_container);
        let sum = containers.fold(Self::default(), Self::plus);
        init.fold(sum, |most, one| Self {
            cpu_m: most.cpu_m.max(one.cpu_m),
            memory_mi: most.memory_mi.max(one.memory_mi),
        })
    }

    fn of_container(container: &Value) -> Self {
        let requests = at(container, "/resources/requests");
        let number = |name: &str, unit: &str| {
            let value = text(requests, name).strip_suffix(unit).and_then(|it| it.parse().ok());
            value.unwrap_or_else(|| panic!("{name} is not in {unit}: {requests}"))
        };
        Self { cpu_m: number("/cpu", "m"), memory_mi: number("/memory", "Mi") }
    }

    fn plus(self, other: Self) -> Self {
        self.times_plus(1, other)
    }

    fn times_plus(self, count: u64, other: Self) -> Self {
        Self {
            cpu_m: self.cpu_m + count * other.cpu_m,
            memory_mi: self.memory_mi + count * other.memory_mi,
        }
    }
}

/// Pods of a service that hold their requests at one moment of a roll: all the old ones may still be leaving while all
/// the new ones are there, and one more.
fn pods_of_a_roll(program: &Program) -> u64 {
    let autoscaler = program.documents().one("HorizontalPodAutoscaler", program.service.name());
    let surge = number(program.deployment, "/spec/strategy/rollingUpdate/maxSurge");
    2 * number(autoscaler, "/spec/minReplicas") + surge
}

#[test]
fn a_node_of_two_cpus_has_room_for_everything_while_both_services_roll_under_load() {
    let documents = Overlay::Local.documents();
    let database = documents.one("StatefulSet", "database");
    let load = Documents::render("load").one("Job", "load").clone();
    let rest = [database, &load].map(|of| Request::of_pod(at(of, "/spec/template/spec")));
    let mut ours = rest.into_iter().fold(Request::default(), Request::plus);
    for program in SERVICES.map(|service| Program::of(Overlay::Local, service)) {
        ours = ours.times_plus(pods_of_a_roll(&program), Request::of_pod(program.pod));
    }

    let all = ours.plus(SYSTEM);
    assert!(all.cpu_m <= NODE.cpu_m && all.memory_mi <= NODE.memory_mi, "{all:?} of {NODE:?}");
    let row = format!(
        "| {}m + {}m = {}m | {} Mi + {} Mi = {} Mi |",
        ours.cpu_m, SYSTEM.cpu_m, all.cpu_m, ours.memory_mi, SYSTEM.memory_mi, all.memory_mi
    );
    assert!(file("k8s/README.md").contains(&row), "k8s/README.md lacks {row}");
}
