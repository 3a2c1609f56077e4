//! What the network policies let through, decided as Kubernetes does: a pod that no policy chooses
//! is open; one that is chosen lets through what any of them allows, and nothing else.

use serde_json::Value;

use crate::documents::{Documents, at, list};

/// Which end of a connection a policy is asked about.
#[derive(Clone, Copy)]
enum End {
    Caller,
    Called,
}

impl End {
    fn policy_type(self) -> &'static str {
        match self {
            Self::Caller => "Egress",
            Self::Called => "Ingress",
        }
    }

    fn rules(self) -> &'static str {
        match self {
            Self::Caller => "egress",
            Self::Called => "ingress",
        }
    }

    fn peers(self) -> &'static str {
        match self {
            Self::Caller => "to",
            Self::Called => "from",
        }
    }
}

/// Whether a pod with these labels reaches another of the same namespace on a TCP port.
pub(crate) fn reaches(documents: &Documents, from: &Value, to: &Value, port: u64) -> bool {
    allows(documents, End::Caller, from, Some(to), port)
        && allows(documents, End::Called, to, Some(from), port)
}

/// Whether a pod lets in one with these labels that may call whom it likes.
pub(crate) fn lets_in(documents: &Documents, to: &Value, from: &Value, port: u64) -> bool {
    allows(documents, End::Called, to, Some(from), port)
}

/// Whether somebody who is no pod of the namespace reaches a pod.
pub(crate) fn outsiders_reach(documents: &Documents, to: &Value, port: u64) -> bool {
    allows(documents, End::Called, to, None, port)
}

/// Whether a pod reaches a port of anybody, wherever that is.
pub(crate) fn reaches_anybody(documents: &Documents, from: &Value, port: u64) -> bool {
    allows(documents, End::Caller, from, None, port)
}

fn allows(documents: &Documents, end: End, pod: &Value, peer: Option<&Value>, port: u64) -> bool {
    let chosen = |policy: &&Value| {
        let types = list(policy, "/spec/policyTypes");
        types.iter().any(|of| of == end.policy_type())
            && selects(at(policy, "/spec/podSelector"), pod)
    };
    let mut policies = documents.of("NetworkPolicy").filter(chosen).peekable();
    if policies.peek().is_none() {
        return true;
    }
    let rules = |policy: &'_ Value| policy["spec"][end.rules()].as_array().cloned();
    let mut rules = policies.filter_map(rules).flatten();
    rules.any(|rule| port_is_in(&rule, port) && peer_is_in(&rule[end.peers()], peer))
}

/// A rule without ports is about all of them.
fn port_is_in(rule: &Value, port: u64) -> bool {
    let is_it = |allowed: &Value| {
        let is_tcp = allowed.get("protocol").is_none_or(|protocol| protocol == "TCP");
        is_tcp && at(allowed, "/port").as_u64().expect("ports are numbers") == port
    };
    rule.get("ports").is_none_or(|ports| ports.as_array().unwrap().iter().any(is_it))
}

/// A rule without peers is about everybody. Peers with a namespace selector are elsewhere.
fn peer_is_in(peers: &Value, peer: Option<&Value>) -> bool {
    let Some(peers) = peers.as_array() else { return true };
    let Some(labels) = peer else { return false };
    let here = peers.iter().filter(|peer| peer.get("namespaceSelector").is_none());
    let mut selectors = here.filter_map(|peer| peer.get("podSelector"));
    selectors.any(|selector| selects(selector, labels))
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let has = |expression: &Value| {
        assert_eq!(expression["operator"], "In", "the one operator that is understood here");
        let label = &labels[expression["key"].as_str().unwrap()];
        list(expression, "/values").contains(label)
    };
    wanted.all(|(name, value)| labels.get(name) == Some(value))
        && selector["matchExpressions"].as_array().into_iter().flatten().all(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(name: &str) -> Value {
        json!({ "name": name })
    }

    fn documents() -> Documents {
        let policy = json!({
            "kind": "NetworkPolicy",
            "spec": {
                "podSelector": { "matchLabels": { "name": "called" } },
                "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [
                        { "podSelector": { "matchLabels": { "name": "friend" } } },
                        { "namespaceSelector": {} },
                    ],
                    "ports": [{ "port": 1 }, { "port": 2, "protocol": "UDP" }],
                }],
            },
        });
        Documents::from(vec![policy])
    }

    #[test]
    fn only_who_is_named_reaches_only_the_ports_that_are_named() {
        let documents = documents();
        let to = labels("called");
        assert!(reaches(&documents, &labels("friend"), &to, 1));
        assert!(!reaches(&documents, &labels("stranger"), &to, 1));
        assert!(!reaches(&documents, &labels("friend"), &to, 2));
        assert!(!reaches(&documents, &labels("friend"), &to, 3));
        assert!(!outsiders_reach(&documents, &to, 1));
    }

    #[test]
    fn whom_no_policy_chooses_is_open() {
        let documents = documents();
        assert!(reaches(&documents, &labels("called"), &labels("friend"), 7));
        assert!(outsiders_reach(&documents, &labels("friend"), 7));
        assert!(reaches_anybody(&documents, &labels("called"), 53));
    }
}
