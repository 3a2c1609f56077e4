//! Failed handshakes: each is counted by its reason, and so many are logged that an operator sees who fails and why, and a
//! client that tries again and again fills no disk.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::handshake::HandshakeError;
use crate::metrics::HANDSHAKES_FAILED;

/// How often one reason is logged at most.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was logged lately, by reason: there are as many as [`HandshakeError::reason`] names.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashMap<&'static str, Lately>>);

#[derive(Debug)]
struct Lately {
    logged_at: Instant,
    unlogged: u64,
}

impl Complaints {
    pub(crate) fn handshake_failed(&self, peer: Option<SocketAddr>, why: &HandshakeError) {
        let reason = why.reason();
        metrics::counter!(HANDSHAKES_FAILED, "reason" => reason).increment(1);
        let (peer, error) = (peer.map(tracing::field::display), why as &dyn std::error::Error);
        // As balancers do that look whether somebody listens.
        if why.is_silent() {
            tracing::debug!(peer, error, "connection closed before it said anything");
            return;
        }
        if let Some(unlogged) = self.may_log(reason, Instant::now()) {
            tracing::warn!(peer, reason, error, unlogged, "handshake failed");
        }
    }

    /// Whether to log this reason now, and how often it was not since the last time.
    fn may_log(&self, reason: &'static str, now: Instant) -> Option<u64> {
        // No code that can panic runs under this lock.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(reason) {
            Some(lately) if now.duration_since(lately.logged_at) < INTERVAL => {
                lately.unlogged += 1;
                None
            }
            other => {
                let unlogged = other.map_or(0, |lately| lately.unlogged);
                all.insert(reason, Lately { logged_at: now, unlogged: 0 });
                Some(unlogged)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_logged_at_once_and_then_sparingly_with_what_was_left_out() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.may_log("late", now), Some(0));
        assert_eq!(complaints.may_log("late", now), None);
        assert_eq!(complaints.may_log("alpn", now), Some(0));
        assert_eq!(complaints.may_log("late", now + INTERVAL / 2), None);
        assert_eq!(complaints.may_log("late", now + INTERVAL), Some(2));
        assert_eq!(complaints.may_log("late", now + 2 * INTERVAL), Some(0));
    }
}
