//! The process's metrics recorder, and the text that `/q/metrics` answers.
//!
//! Metric names follow gRFC A66 in Prometheus spelling. Every label has a bounded set of
//! values: methods come from the descriptors, codes are the 17 of gRPC.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Duration of a call, from its headers to its last byte; labels `grpc_method`, `grpc_status`.
pub(crate) const CALL_DURATION: &str = "grpc_server_call_duration_seconds";
/// Calls begun; label `grpc_method`.
pub(crate) const CALLS_STARTED: &str = "grpc_server_call_started_total";
/// Calls in progress, health and reflection left out.
pub(crate) const CALLS_IN_FLIGHT: &str = "grpc_server_calls_in_flight";
/// Calls that came with `grpc-previous-rpc-attempts`; label `grpc_method`.
pub(crate) const CALLS_RETRIED: &str = "grpc_server_call_retried_total";
/// What was refused or cut off to keep a bound; label `bound`.
pub(crate) const REFUSED: &str = "grpc_server_refused_total";
/// Handlers that panicked.
pub(crate) const PANICS: &str = "grpc_server_panics_total";
/// Open connections.
pub(crate) const CONNECTIONS: &str = "grpc_server_connections";
/// Connections ended, by cause.
pub(crate) const CONNECTIONS_ENDED: &str = "grpc_server_connections_ended_total";
/// Connections that never came to HTTP/2, by reason.
pub(crate) const HANDSHAKES_FAILED: &str = "grpc_server_handshakes_failed_total";
/// Calls cut off because their connection had to end.
pub(crate) const CALLS_FORCED: &str = "grpc_server_calls_forced_total";
/// Lines of the audit trail, handed in to be written.
pub(crate) const AUDIT_LINES: &str = "audit_lines_total";
/// Lines of the audit trail that are lost because it could not be written for too long.
pub(crate) const AUDIT_LINES_LOST: &str = "audit_lines_lost_total";
/// 1 while the audit trail cannot be written, else 0.
pub(crate) const AUDIT_FAILING: &str = "audit_writes_failing";
/// 1 while a file about callers on disk is not the one in force, else 0; label `file`.
pub(crate) const AUTH_RELOAD_FAILING: &str = "auth_reload_failing";
/// Changed files about callers, by `file` and `outcome`.
pub(crate) const AUTH_RELOADS: &str = "auth_reloads_total";

/// Upper bounds in seconds: 1-2-5 steps from 0.5 ms, where a batched write lies, to 10 s.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The recorder of this process, installed on first use. `None` when another one was installed
/// before: then the embedding program exports the metrics itself.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(install).as_ref()
}

/// Counts what was refused or cut off to keep this bound; callers are no label, there may be any number of them.
pub(crate) fn refused(bound: &'static str) {
    metrics::counter!(REFUSED, "bound" => bound).increment(1);
}

fn install() -> Option<PrometheusHandle> {
    let installed = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .expect("the buckets are not empty")
        .install_recorder();
    match installed {
        Ok(handle) => {
            describe();
            Some(handle)
        }
        Err(why) => {
            tracing::warn!(%why, "metrics are not exported: another recorder is installed");
            None
        }
    }
}

fn describe() {
    metrics::describe_histogram!(CALL_DURATION, "duration of a call, headers to last byte");
    metrics::describe_counter!(CALLS_STARTED, "calls begun");
    metrics::describe_gauge!(CALLS_IN_FLIGHT, "calls in progress");
    metrics::describe_counter!(CALLS_RETRIED, "calls that their client had tried before");
    metrics::describe_counter!(REFUSED, "calls, commands and connections refused, by bound");
    metrics::describe_counter!(PANICS, "handlers that panicked");
    metrics::describe_gauge!(CONNECTIONS, "open connections");
    metrics::describe_counter!(CONNECTIONS_ENDED, "connections ended, by cause");
    metrics::describe_counter!(
        HANDSHAKES_FAILED,
        "connections that never came to HTTP/2, by reason"
    );
    metrics::describe_counter!(CALLS_FORCED, "calls cut off with their connection");
    metrics::describe_counter!(AUDIT_LINES, "lines of the audit trail");
    metrics::describe_counter!(AUDIT_LINES_LOST, "lines of the audit trail that are lost");
    metrics::describe_gauge!(AUDIT_FAILING, "1 while the audit trail cannot be written");
    metrics::describe_gauge!(
        AUTH_RELOAD_FAILING,
        "1 while a file about callers on disk is not the one in force"
    );
    metrics::describe_counter!(AUTH_RELOADS, "changed files about callers, by file and outcome");
}
