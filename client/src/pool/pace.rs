//! When an endpoint may be tried again (grpc/grpc `doc/connection-backoff.md`).
//!
//! After a failure tries of one endpoint *start* at least a backoff apart: by default 1 s, then 1.6
//! times as long each time, up to 120 s, ±20 %. After a connection that worked (it answered a call or
//! lived for a second) the next try starts at once: servers and proxies end connections as a matter of
//! course. One that ended before it was good for anything counts as a failed try, so that a server
//! which accepts and hangs up is not tried in a tight loop; a graceful GOAWAY as the first that a server
//! has to say is no failure, but the next try keeps its distance all the same.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Delays;
use crate::config::Backoff;
use crate::connection::ConnectFailure;
use crate::entropy::Entropy;

/// The description's own figures, a channel's default.
pub(crate) const CONNECTION_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(120), multiplier: 1.6 };

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was good for something.
    Worked,
    /// A graceful GOAWAY came before it was.
    AskedToLeave,
    /// It ended before it was, or the peer asked for calm.
    Useless,
}

pub(super) struct Pace {
    delays: Delays,
    not_before: Option<Instant>,
    /// Why the last try failed, until one succeeds.
    pub(super) failed: Option<ConnectFailure>,
}

impl Pace {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { delays: Delays::new(backoff), not_before: None, failed: None }
    }

    pub(super) fn started(&mut self, entropy: &Entropy) {
        self.not_before = Some(Instant::now() + self.delays.next(entropy));
    }

    /// A try led to a connection.
    pub(super) fn succeeded(&mut self) {
        self.failed = None;
    }

    /// The connection is over.
    pub(super) fn ended(&mut self, how: Ended) {
        match how {
            Ended::Worked => self.forgive(),
            Ended::AskedToLeave => self.delays.reset(),
            Ended::Useless => {}
        }
    }

    /// Forgets the failures: the next try may start now.
    pub(super) fn forgive(&mut self) {
        self.delays.reset();
        self.not_before = None;
    }

    /// The moment before which no new try starts. Absent: now is fine.
    pub(super) fn wait_until(&self) -> Option<Instant> {
        self.not_before.filter(|moment| *moment > Instant::now())
    }
}
