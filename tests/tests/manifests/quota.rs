//! Whether production's quota lets everything be there that has to be, and not much more.

use serde_json::Value;

use crate::documents::{Documents, Overlay, at, list, number, text};
use crate::program::{Program, SERVICES};

/// What a quota counts, and where a container says how much of it it wants.
const COUNTED: [(&str, &str); 5] = [
    ("requests.cpu", "/resources/requests/cpu"),
    ("requests.memory", "/resources/requests/memory"),
    ("requests.ephemeral-storage", "/resources/requests/ephemeral-storage"),
    ("limits.memory", "/resources/limits/memory"),
    ("limits.ephemeral-storage", "/resources/limits/ephemeral-storage"),
];

/// While an instance is replaced.
const INSTANCES_MORE: u64 = 1;

/// Thousandths of a core, or bytes.
fn amount(quantity: &str) -> u64 {
    let units = [("Gi", 1 << 30), ("Mi", 1 << 20), ("m", 1)];
    let suffixed = units.into_iter().find_map(|(unit, factor)| {
        Some(quantity.strip_suffix(unit)?.parse::<u64>().ok()? * factor)
    });
    let cores = || quantity.parse::<u64>().ok().map(|cores| cores * 1_000);
    suffixed.or_else(cores).unwrap_or_else(|| panic!("{quantity} is not understood"))
}

/// A pod counts as its containers together, or as its greatest init container.
fn of_pod(pod: &Value, pointer: &str) -> u64 {
    let of = |container: &Value| amount(text(container, pointer));
    let init = pod["initContainers"].as_array().into_iter().flatten().map(of).max();
    list(pod, "/containers").iter().map(of).sum::<u64>().max(init.unwrap_or(0))
}

/// All old pods of a service may still be leaving while all new ones are there, and one more.
fn pods_of_a_roll(program: &Program) -> u64 {
    let name = program.service.name();
    let autoscaler = program.documents().one("HorizontalPodAutoscaler", name);
    2 * number(autoscaler, "/spec/maxReplicas") + 1
}

fn instances(cluster: &Value) -> u64 {
    number(cluster, "/spec/instances") + INSTANCES_MORE
}

#[test]
fn the_quota_holds_a_roll_of_everything_and_little_more() {
    let documents = Overlay::Production.documents();
    let hard = at(documents.one("ResourceQuota", "holdfast"), "/spec/hard");
    let programs = SERVICES.map(|service| Program::of(Overlay::Production, service));
    let clusters: Vec<_> = documents.of("Cluster").collect();
    let job = Documents::render("verify").one("Job", "holdfast-verify").clone();

    let sum = |of_pod: &dyn Fn(&Value) -> u64, of_instance: &dyn Fn(&Value) -> u64| {
        let programs = programs.iter().map(|it| pods_of_a_roll(it) * of_pod(it.pod)).sum::<u64>();
        let databases = clusters.iter().map(|it| instances(it) * of_instance(it)).sum::<u64>();
        programs + databases + of_pod(at(&job, "/spec/template/spec"))
    };
    let mut wanted: Vec<(&str, u64, u64)> = COUNTED
        .iter()
        .map(|(name, pointer)| {
            let instance = |cluster: &Value| amount(text(&cluster["spec"], pointer));
            (*name, sum(&|pod| of_pod(pod, pointer), &instance), amount(text_of(hard, name)))
        })
        .collect();
    let count = |name| text_of(hard, name).parse::<u64>().unwrap();
    wanted.push(("pods", sum(&|_| 1, &|_| 1), count("pods")));
    // Data and log of each instance.
    wanted.push(("persistentvolumeclaims", sum(&|_| 0, &|_| 2), count("persistentvolumeclaims")));

    for (name, wanted, allowed) in wanted {
        assert!(wanted <= allowed, "{name}: {wanted} of {allowed}");
        assert!(allowed <= wanted + wanted / 4, "{name}: {allowed} for {wanted}");
    }
}

/// Names with dots are no JSON pointers' business, but they do no harm there.
fn text_of<'value>(hard: &'value Value, name: &str) -> &'value str {
    text(hard, &format!("/{name}"))
}
