//! When an endpoint may be tried again (grpc/grpc `doc/connection-backoff.md`).
//!
//! Tries of one endpoint *start* at least a backoff apart: 1 s, then 1.6 times as long each time, up
//! to 120 s, ±20 %. Success resets the length but not the spacing, so that a server which accepts and
//! hangs up at once is not tried in a tight loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Delays;
use crate::config::Backoff;
use crate::entropy::Entropy;

/// The description's own figures.
pub(crate) const CONNECTION_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(120), multiplier: 1.6 };

pub(super) struct Pace {
    delays: Delays,
    not_before: Option<Instant>,
    /// Why the last try failed, until one succeeds.
    pub(super) failed: Option<Arc<str>>,
}

impl Pace {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { delays: Delays::new(backoff), not_before: None, failed: None }
    }

    pub(super) fn started(&mut self, entropy: &Entropy) {
        self.not_before = Some(Instant::now() + self.delays.next(entropy));
    }

    pub(super) fn succeeded(&mut self) {
        self.delays.reset();
        self.failed = None;
    }

    /// The moment before which no new try starts. Absent: now is fine.
    pub(super) fn wait_until(&self) -> Option<Instant> {
        self.not_before.filter(|moment| *moment > Instant::now())
    }
}
