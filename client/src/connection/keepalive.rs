//! Pings that find out whether a silent peer is still there (gRFC A8).
//!
//! After `time` without a byte from the peer a PING goes out; when nothing at all comes back within
//! `timeout`, the connection is given up. A server that finds this too often says so with GOAWAY
//! ENHANCE_YOUR_CALM: `time` then doubles for the whole channel, up to two hours.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// gRPC's floor: servers may treat more frequent pings as an attack.
const FLOOR: Duration = Duration::from_secs(10);
const CEILING: Duration = Duration::from_secs(2 * 60 * 60);

/// The channel's keepalive; `time` changes when a server asks for calm.
#[derive(Debug)]
pub(crate) struct Keepalive {
    time_ms: AtomicU64,
    pub(super) timeout: Duration,
    pub(super) without_calls: bool,
}

impl Keepalive {
    pub(crate) fn new(
        time: Duration,
        timeout: Duration,
        without_calls: bool,
        below_floor: bool,
    ) -> Self {
        let least = if below_floor { Duration::from_millis(1) } else { FLOOR };
        let time_ms = AtomicU64::new(millis(time.clamp(least, CEILING)));
        Self { time_ms, timeout, without_calls }
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn double(&self) {
        let doubled = |time: u64| Some(time.saturating_mul(2).min(millis(CEILING)));
        // The closure always answers, so there is no failure to look at.
        let _ = self.time_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, doubled);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_a_floor_and_doubles_up_to_two_hours() {
        let keepalive = Keepalive::new(Duration::from_secs(1), FLOOR, true, false);
        assert_eq!(keepalive.time(), FLOOR);
        keepalive.double();
        assert_eq!(keepalive.time(), 2 * FLOOR);
        (0..60).for_each(|_| keepalive.double());
        assert_eq!(keepalive.time(), CEILING);
    }
}
