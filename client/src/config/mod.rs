//! The service config: how calls of a service are retried, hedged, bounded and spread.
//!
//! The JSON is the one that grpc-java, grpc-go and grpc-core read (gRFC A2, A6, A17, A48, A50;
//! grpc/grpc-proto `service_config.proto`), so that one file serves every language. A config is
//! checked whole: [`ServiceConfig::parse`] answers either a config or **all** of its problems, each
//! with its place. Nothing is applied from a bad config.
//!
//! One key is ours, inside a `methodConfig` entry: **`"idempotent": true`** says that running a
//! method twice with the same request does no harm. Calls that may have run (the connection died
//! before an answer came) are tried again only for such methods; other implementations ignore the
//! key. Two more are ours inside `outlier_detection`: `consecutiveFailures` ejects an endpoint after so
//! many failures in a row, and `failureStatusCodes` lists statuses that count as failures although
//! they usually speak of the request, such as UNIMPLEMENTED from an address that was given to another
//! service. `perAttemptRecvTimeout` in a `retryPolicy` (gRFC A6, which grpc-core reads) bounds the wait
//! for one attempt's answer; an attempt that is given up there may have run.

mod methods;
mod parse;
mod reader;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::reader::{ConfigErrors, Problem};
use crate::code::CodeSet;
pub(crate) use methods::Methods;

/// A parsed and checked service config.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig {
    pub(crate) methods: Methods,
    pub(crate) balancing: Balancing,
    pub(crate) outlier: Option<OutlierDetection>,
    pub(crate) throttling: Option<RetryThrottling>,
    /// The service name to watch on each endpoint (gRFC A17); absent: no health checking.
    pub(crate) health_service: Option<String>,
}

impl ServiceConfig {
    /// Reads the standard JSON form. Keys that are not known are ignored, as gRFC A2 asks.
    pub fn parse(json: &str) -> Result<Self, ConfigErrors> {
        parse::service_config(json)
    }
}

/// What is said about one method, or a service, or all (`methodConfig`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MethodConfig {
    /// Longest time for the whole call, attempts and body included.
    pub(crate) timeout: Option<Duration>,
    /// Whether calls wait while no endpoint can be reached. Absent: they fail.
    pub(crate) wait_for_ready: Option<bool>,
    /// Whether a call that may have run can be run again.
    pub(crate) idempotent: bool,
    /// Longest request message, in bytes on the wire (`maxRequestMessageBytes`); zero allows only
    /// empty ones. Absent: any length.
    pub(crate) request_bytes_max: Option<u32>,
    /// Longest response message (`maxResponseMessageBytes`), likewise.
    pub(crate) response_bytes_max: Option<u32>,
    pub(crate) recovery: Recovery,
}

/// What happens after an attempt that failed. gRFC A6 allows one of the two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Recovery {
    #[default]
    None,
    Retry(RetryPolicy),
    Hedge(HedgingPolicy),
}

/// `retryPolicy` of gRFC A6.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RetryPolicy {
    /// Attempts in all, the first one included; more than 1.
    pub(crate) max_attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) retryable: CodeSet,
    /// Longest wait for one attempt's response headers (`perAttemptRecvTimeout`).
    pub(crate) attempt_timeout: Option<Duration>,
}

/// The n-th wait is `min(initial · multiplier^(n-1), max)`, spread by ±20 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) multiplier: f64,
}

/// `hedgingPolicy` of gRFC A6: send again before an answer came, take the first good answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HedgingPolicy {
    /// Attempts in all, more than 1.
    pub(crate) max_attempts: u32,
    /// Wait between two sends; zero sends all at once.
    pub(crate) delay: Duration,
    /// Codes that do not end the call while another attempt is under way or can be sent.
    pub(crate) non_fatal: CodeSet,
}

/// `retryThrottling` of gRFC A6. Both figures are thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryThrottling {
    pub(crate) max_millitokens: u32,
    pub(crate) ratio_millitokens: u32,
}

/// How calls are spread over ready endpoints (`loadBalancingConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancing {
    /// All calls on one endpoint, the first that answers (gRFC A62).
    PickFirst {
        shuffle: bool,
    },
    RoundRobin,
    /// The least busy of `choices` endpoints drawn at random (gRFC A48).
    LeastRequest {
        choices: usize,
    },
}

impl Default for Balancing {
    fn default() -> Self {
        Self::LeastRequest { choices: 2 }
    }
}

/// `outlier_detection_experimental` of gRFC A50.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutlierDetection {
    /// Time between two looks at the counts.
    pub(crate) interval: Duration,
    /// First ejection's length; the n-th lasts n times as long.
    pub(crate) base_ejection: Duration,
    /// Longest ejection.
    pub(crate) max_ejection: Duration,
    /// Share of endpoints that may be ejected at one time.
    pub(crate) max_ejection_percent: u32,
    pub(crate) success_rate: Option<SuccessRate>,
    pub(crate) failure_percentage: Option<FailurePercentage>,
    /// Our addition (from Envoy): eject after so many failures in a row, without waiting for the
    /// interval.
    pub(crate) consecutive_failures: Option<u32>,
    /// Our addition (`failureStatusCodes`): statuses that count as failures beside those that always do.
    pub(crate) blaming: CodeSet,
}

/// Ejects endpoints whose success rate lies far below the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuccessRate {
    /// Thousandths of a standard deviation below the mean.
    pub(crate) stdev_factor: u32,
    /// Chance in percent that the rule is applied.
    pub(crate) enforcement: u32,
    pub(crate) minimum_hosts: usize,
    pub(crate) request_volume: u64,
}

/// Ejects endpoints that fail more than a fixed share of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailurePercentage {
    /// Percent of failed calls from which an endpoint is ejected.
    pub(crate) threshold: u32,
    pub(crate) enforcement: u32,
    pub(crate) minimum_hosts: usize,
    pub(crate) request_volume: u64,
}
