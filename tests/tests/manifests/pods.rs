//! How many pods there are, where, and what they may do.

use serde_json::{Value, json};
use tests::cluster::Service;

use crate::documents::{Overlay, at, list, named, number, text};
use crate::program::{Program, everywhere};

/// All containers, those that run first included.
fn containers(program: &Program) -> impl Iterator<Item = &'static Value> {
    list(program.pod, "/initContainers").iter().chain(list(program.pod, "/containers"))
}

/// Whether a selector of labels chooses a pod. An empty one would choose all of them.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = at(selector, "/matchLabels").as_object().unwrap();
    assert!(!wanted.is_empty(), "an empty selector is every pod");
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn autoscaler(program: &Program) -> &'static Value {
    program.documents().one("HorizontalPodAutoscaler", program.service.name())
}

#[test]
fn the_autoscaler_alone_says_how_many_pods_there_are() {
    for program in everywhere() {
        let target = at(autoscaler(&program), "/spec/scaleTargetRef");
        assert_eq!(target["kind"], "Deployment");
        assert_eq!(target["name"], program.service.name());
        assert_eq!(program.deployment["spec"]["replicas"], Value::Null);
    }
}

#[test]
fn there_are_two_pods_on_one_node_and_three_over_three_zones() {
    for (overlay, pods) in [(Overlay::Local, 2), (Overlay::Production, 3)] {
        for service in crate::program::SERVICES {
            let program = Program::of(overlay, service);
            let autoscaler = autoscaler(&program);
            assert_eq!(number(autoscaler, "/spec/minReplicas"), pods);
            assert!(number(autoscaler, "/spec/maxReplicas") >= 2 * pods);
        }
    }
}

#[test]
fn a_drain_of_nodes_can_go_on_and_leaves_most_pods() {
    for program in everywhere() {
        let budget = program.documents().one("PodDisruptionBudget", program.service.name());
        let away = number(budget, "/spec/maxUnavailable");
        let pods = number(autoscaler(&program), "/spec/minReplicas");
        assert!(away >= 1, "no drain would ever end");
        assert!(2 * away <= pods, "{away} of {pods} pods away");
    }
}

#[test]
fn each_budget_counts_the_pods_of_its_own_service() {
    for overlay in Overlay::ALL {
        let [account, order] = crate::program::SERVICES.map(|of| Program::of(overlay, of));
        let documents = overlay.documents();
        for (own, other) in [(&account, &order), (&order, &account)] {
            let budget = documents.one("PodDisruptionBudget", own.service.name());
            let selector = at(budget, "/spec/selector");
            assert!(selects(selector, own.labels()));
            assert!(!selects(selector, other.labels()));
        }
    }
}

#[test]
fn pods_are_spread_over_nodes_and_in_production_over_zones_first() {
    for program in everywhere() {
        let constraints = list(program.pod, "/topologySpreadConstraints");
        let keys: Vec<_> = constraints.iter().map(|of| text(of, "/topologyKey")).collect();
        match program.overlay {
            Overlay::Local => assert_eq!(keys, ["kubernetes.io/hostname"]),
            Overlay::Production => {
                assert_eq!(keys, ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
                assert_eq!(constraints[0]["whenUnsatisfiable"], "DoNotSchedule");
            }
        }
        for constraint in constraints {
            assert_eq!(number(constraint, "/maxSkew"), 1);
            assert_eq!(constraint["matchLabelKeys"], json!(["pod-template-hash"]));
            assert!(selects(at(constraint, "/labelSelector"), program.labels()));
        }
    }
}

#[test]
fn no_container_has_more_rights_than_it_needs() {
    let locked = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    for program in everywhere() {
        let pod = at(program.pod, "/securityContext");
        assert_eq!(pod["runAsNonRoot"], true);
        // Else the files of Secrets, which the group alone may read, could not be read.
        assert_eq!(pod["fsGroup"], pod["runAsGroup"]);
        assert_eq!(pod["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        assert_eq!(program.pod["automountServiceAccountToken"], false);
        assert_eq!(program.pod["enableServiceLinks"], false);
        for container in containers(&program) {
            assert_eq!(container["securityContext"], locked, "{}", container["name"]);
        }
        let account = text(program.pod, "/serviceAccountName");
        let account = program.documents().one("ServiceAccount", account);
        assert_eq!(account["automountServiceAccountToken"], false);
    }
}

#[test]
fn every_container_asks_for_what_it_needs_and_none_is_throttled() {
    for program in everywhere() {
        for container in containers(&program) {
            let resources = at(container, "/resources");
            for wanted in [
                "/requests/cpu",
                "/requests/memory",
                "/requests/ephemeral-storage",
                "/limits/memory",
                "/limits/ephemeral-storage",
            ] {
                assert!(!text(resources, wanted).is_empty());
            }
            assert_eq!(resources["limits"]["cpu"], Value::Null);
        }
    }
}

#[test]
fn the_schema_is_brought_up_to_date_by_the_same_image_before_it_serves() {
    for program in everywhere() {
        let [migrate] = list(program.pod, "/initContainers") else { panic!("one init container") };
        assert_eq!(migrate["args"], json!(["migrate"]));
        assert_eq!(migrate["image"], program.container["image"]);
        assert_eq!(migrate["env"], program.container["env"], "another database");
        let database = named(list(migrate, "/volumeMounts"), "database");
        assert!(list(program.container, "/volumeMounts").contains(database), "not mounted");
    }
}

#[test]
fn production_pods_come_before_batch_work() {
    for service in [Service::Account, Service::Order] {
        let program = Program::of(Overlay::Production, service);
        let class = text(program.pod, "/priorityClassName");
        assert!(number(program.documents().one("PriorityClass", class), "/value") > 0);
    }
}

/// Whoever may list a pod's processes, or make it dump one, reads its variables.
#[test]
fn no_container_has_a_secret_among_its_variables() {
    for program in everywhere() {
        for container in containers(&program) {
            for variable in list(container, "/env") {
                assert_eq!(variable.get("valueFrom"), None, "{}", variable["name"]);
            }
        }
        let volumes = list(program.pod, "/volumes").iter();
        for secret in volumes.filter_map(|volume| volume.get("secret")) {
            assert_eq!(number(secret, "/defaultMode"), 0o440, "{secret}");
        }
    }
}

#[test]
fn pods_that_could_gain_rights_are_refused_by_the_namespace_itself() {
    for overlay in Overlay::ALL {
        let namespace = overlay.documents().one("Namespace", "holdfast");
        for mode in ["enforce", "audit", "warn"] {
            let label =
                &namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")];
            assert_eq!(label, "restricted", "{mode}");
        }
    }
}
