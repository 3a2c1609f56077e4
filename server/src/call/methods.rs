//! The methods this server knows, from the descriptors of its services.
//!
//! Anything else a caller may ask for is one method called `other`, so that made-up names
//! cannot grow the metrics.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram};
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
};
use tonic::Code;

use crate::auth::{Access, Rule};
use crate::metrics::{CALL_DURATION, CALLS_RETRIED, CALLS_STARTED};

/// A method and its metric handles, looked up once.
pub(crate) struct Method {
    name: String,
    shape: Shape,
    infrastructure: bool,
    audited: bool,
    administrative: bool,
    rule: Rule,
    started: Counter,
    retried: Counter,
    /// By code; each made on first use, so that `/q/metrics` shows only codes that occurred.
    durations: [OnceLock<Histogram>; CODES],
}

/// Methods that a service wants treated otherwise, as `package.Service/Method`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// They have lines in the audit trail.
    pub(crate) audited: &'static [&'static str],
    /// They are served on the administrators' listener, if there is one.
    pub(crate) administrative: &'static [&'static str],
}

/// How many messages go which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One message is answered by one message.
    Unary,
    /// One message is answered by a stream.
    ServerStreaming,
    /// The client may send messages for as long as it likes.
    ClientStreaming,
}

/// gRPC's codes are 0 to 16.
const CODES: usize = 17;

impl Method {
    fn new(name: String, shape: Shape, rule: Rule, marks: Marks) -> Arc<Self> {
        let infrastructure = name.starts_with("grpc.");
        let started = metrics::counter!(CALLS_STARTED, "grpc_method" => name.clone());
        let retried = metrics::counter!(CALLS_RETRIED, "grpc_method" => name.clone());
        let durations = std::array::from_fn(|_code| OnceLock::new());
        let audited = marks.audited.contains(&name.as_str());
        let administrative = marks.administrative.contains(&name.as_str());
        Arc::new(Self {
            name,
            shape,
            infrastructure,
            audited,
            administrative,
            rule,
            started,
            retried,
            durations,
        })
    }

    /// `package.Service/Method`, or `other`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether one message is answered by one message.
    pub(crate) fn is_unary(&self) -> bool {
        self.shape == Shape::Unary
    }

    /// Whether the request is one message, which then has to be here within a bound.
    pub(crate) fn takes_one_message(&self) -> bool {
        self.shape != Shape::ClientStreaming
    }

    /// Health and reflection: not work, so with a bound of their own and not counted as calls in progress.
    pub(crate) fn is_infrastructure(&self) -> bool {
        self.infrastructure
    }

    /// Whether its calls have lines in the audit trail.
    pub(crate) fn is_audited(&self) -> bool {
        self.audited
    }

    /// Whether it belongs on the administrators' listener.
    pub(crate) fn is_administrative(&self) -> bool {
        self.administrative
    }

    /// What it asks of its callers.
    pub(crate) fn rule(&self) -> Rule {
        self.rule
    }

    pub(crate) fn count_start(&self) {
        self.started.increment(1);
    }

    pub(crate) fn count_retry(&self) {
        self.retried.increment(1);
    }

    pub(crate) fn observe(&self, code: Code, took: Duration) {
        let index = usize::try_from(code as i32).expect("codes are not negative");
        let duration = self.durations[index].get_or_init(|| {
            let status = crate::call::record::code_name(code);
            metrics::histogram!(
                CALL_DURATION, "grpc_method" => self.name.clone(), "grpc_status" => status
            )
        });
        duration.record(took.as_secs_f64());
    }
}

impl std::fmt::Debug for Method {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Method").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Methods by path.
#[derive(Debug)]
pub(crate) struct Methods {
    known: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

impl Methods {
    /// The methods of these services, from encoded descriptor sets that may hold more, each with its rule.
    pub(crate) fn of(
        descriptor_sets: &[&[u8]],
        services: &[&str],
        rules: &HashMap<&str, Access>,
        marks: Marks,
    ) -> Result<Self, prost::DecodeError> {
        let rule = |name: &str| rules.get(name).copied().map_or(Rule::Missing, Rule::Access);
        let mut known = HashMap::new();
        for encoded in descriptor_sets {
            for file in FileDescriptorSet::decode(*encoded)?.file {
                known.extend(methods_in(&file, services).map(|(name, shape)| {
                    let rule = rule(&name);
                    (format!("/{name}"), Method::new(name, shape, rule, marks))
                }));
            }
        }
        let (name, shape) = ("other".to_owned(), Shape::ServerStreaming);
        let other = Method::new(name, shape, Rule::NoMethod, Marks::default());
        Ok(Self { known, other })
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known.contains_key(&format!("/{name}"))
    }

    /// Methods that have no rule, and rules that have no method, sorted.
    pub(crate) fn at_odds_with(&self, rules: &HashMap<&str, Access>) -> Vec<String> {
        let methods = self.known.values().filter(|method| method.rule == Rule::Missing);
        let methods = methods.map(|method| method.name.clone());
        let is_served = |name: &&&str| self.knows(name);
        let rules = rules.keys().filter(|name| !is_served(name)).map(ToString::to_string);
        let mut odd: Vec<_> = methods.chain(rules).collect();
        odd.sort_unstable();
        odd
    }

    pub(crate) fn find(&self, path: &str) -> Arc<Method> {
        self.known.get(path).unwrap_or(&self.other).clone()
    }
}

/// Names of the methods of these services in a file, and the shape of each.
fn methods_in<'file>(
    file: &'file FileDescriptorProto,
    services: &'file [&str],
) -> impl Iterator<Item = (String, Shape)> + 'file {
    let full_name = |service: &ServiceDescriptorProto| match file.package() {
        "" => service.name().to_owned(),
        package => format!("{package}.{}", service.name()),
    };
    let named = file.service.iter().map(move |service| (full_name(service), service));
    let served = named.filter(|(name, _)| services.contains(&name.as_str()));
    served.flat_map(|(prefix, service)| {
        let name = move |method: &MethodDescriptorProto| format!("{prefix}/{}", method.name());
        service.method.iter().map(move |method| (name(method), shape_of(method)))
    })
}

fn shape_of(method: &MethodDescriptorProto) -> Shape {
    match (method.client_streaming(), method.server_streaming()) {
        (false, false) => Shape::Unary,
        (false, true) => Shape::ServerStreaming,
        (true, _) => Shape::ClientStreaming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_descriptors_and_the_rest_is_other() {
        let sets =
            [tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
        let marks = Marks { audited: &["grpc.health.v1.Health/Check"], administrative: &[] };
        let rules = HashMap::from([
            ("grpc.health.v1.Health/Check", Access::Open),
            ("grpc.health.v1.Health/Chuck", Access::Open),
        ]);
        let methods = Methods::of(&sets, &["grpc.health.v1.Health"], &rules, marks).unwrap();
        let check = methods.find("/grpc.health.v1.Health/Check");
        assert_eq!(check.name(), "grpc.health.v1.Health/Check");
        assert!(check.is_unary() && check.is_infrastructure());
        assert!(check.is_audited() && !check.is_administrative());
        assert!(!methods.find("/grpc.health.v1.Health/Watch").is_unary());
        let not_served = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(methods.find(not_served).name(), "other");
        let made_up = methods.find("/grpc.health.v1.Health/Made-up-7");
        assert_eq!(made_up.name(), "other");
        assert!(!made_up.is_infrastructure());

        assert_eq!(check.rule(), Rule::Access(Access::Open));
        assert_eq!(methods.find("/grpc.health.v1.Health/Watch").rule(), Rule::Missing);
        assert_eq!(made_up.rule(), Rule::NoMethod);
        let odd = ["grpc.health.v1.Health/Chuck", "grpc.health.v1.Health/Watch"];
        assert_eq!(methods.at_odds_with(&rules)[..2], odd);
    }
}
