//! The span of a call: method, trace id, attempt, deadline.

use http::HeaderMap;
use tracing::Span;
use tracing::field::{Empty, display};

use super::deadline;
use super::methods::Method;

/// A span that every log line of the call carries. Reads W3C `traceparent`,
/// `grpc-previous-rpc-attempts` and `grpc-timeout`; what is absent or malformed is left out.
pub(super) fn span(method: &Method, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "call",
        rpc.method = method.name(),
        rpc.previous_attempts = Empty,
        rpc.timeout_ms = Empty,
        trace_id = Empty,
    );
    if let Some(attempts) = previous_attempts(headers) {
        method.count_retry();
        span.record("rpc.previous_attempts", attempts);
    }
    if span.is_disabled() {
        return span;
    }
    if let Some(timeout) =
        headers.get("grpc-timeout").and_then(|raw| deadline::parse(raw.as_bytes()))
    {
        span.record("rpc.timeout_ms", u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
    if let Some(trace_id) = trace_id(headers) {
        span.record("trace_id", display(trace_id));
    }
    span
}

/// How often the client tried before; absent on the first attempt.
fn previous_attempts(headers: &HeaderMap) -> Option<u32> {
    let attempts = headers.get("grpc-previous-rpc-attempts")?.to_str().ok()?.parse().ok()?;
    (attempts > 0).then_some(attempts)
}

/// `version-traceid-parentid-flags` with a trace id of 32 lower-case hex digits, not all zero.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let traceparent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = traceparent.split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = trace_id.bytes().any(|byte| byte != b'0');
    (version.len() == 2 && trace_id.len() == 32 && is_hex(trace_id) && is_set).then_some(trace_id)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    #[test]
    fn the_trace_id_is_read_from_a_well_formed_traceparent_only() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            trace_id(&headers("traceparent", good)),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        for bad in [
            "",
            "00",
            "00-4bf9-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(&headers("traceparent", bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn only_a_positive_number_of_attempts_is_a_retry() {
        let of = |raw| previous_attempts(&headers("grpc-previous-rpc-attempts", raw));
        assert_eq!(of("2"), Some(2));
        assert_eq!([of("0"), of("-1"), of("many")], [None, None, None]);
    }
}
