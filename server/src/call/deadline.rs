//! The caller's deadline: `grpc-timeout` as an instant.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Status;

use super::now;

/// When the caller stops waiting. Handlers find it in the request's extensions; when it passes,
/// the handler is dropped and the caller, if still there, reads DEADLINE_EXCEEDED.
///
/// Absent only on streaming calls without `grpc-timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// Time left, zero when there is none.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Longer timeouts than `longest` are cut to it: whoever waits for hours has left, and what it holds others need.
    pub(super) fn of(
        headers: &HeaderMap,
        default: Option<Duration>,
        longest: Duration,
    ) -> Result<Option<Self>, Status> {
        let timeout = match headers.get("grpc-timeout") {
            Some(raw) => Some(
                parse(raw.as_bytes())
                    .ok_or_else(|| Status::invalid_argument("malformed grpc-timeout header"))?,
            ),
            None => default,
        };
        Ok(timeout.map(|timeout| Self(now() + timeout.min(longest))))
    }
}

pub(super) fn exceeded() -> Status {
    Status::deadline_exceeded("the caller's deadline passed")
}

/// At most 8 digits and a unit (gRPC over HTTP/2, "Timeout").
pub(super) fn parse(raw: &[u8]) -> Option<Duration> {
    let (unit, digits) = raw.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0_u64, |count, digit| count * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 60 * 60)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        assert_eq!(parse(b"2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse(b"3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse(b"4S"), Some(Duration::from_secs(4)));
        assert_eq!(parse(b"5m"), Some(Duration::from_millis(5)));
        assert_eq!(parse(b"6u"), Some(Duration::from_micros(6)));
        assert_eq!(parse(b"99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn malformed_timeouts_are_refused() {
        for raw in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789n", " 1S", "1 S"] {
            assert_eq!(parse(raw.as_bytes()), None, "{raw:?}");
        }
    }

    #[test]
    fn a_timeout_of_centuries_is_cut_to_the_longest_and_a_shorter_one_is_kept() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            http::HeaderValue::from_static("99999999H"),
        )]);
        let remaining = |longest| {
            Deadline::of(&headers, None, longest)
                .unwrap()
                .unwrap()
                .remaining()
                .as_secs_f64()
                .round()
        };
        assert_eq!(remaining(Duration::from_secs(300)), 300.0);
        let centuries = Duration::from_secs(99_999_999 * 60 * 60);
        assert_eq!(remaining(Duration::MAX), centuries.as_secs_f64());
    }
}
