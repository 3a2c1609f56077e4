//! What a channel did and how it stands, for tests and people.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::ConnectFailure;
use crate::resolve::Address;

/// Counts since the channel was built, and its endpoints at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls begun.
    pub calls: u64,
    /// Calls that ended with OK.
    pub succeeded: u64,
    /// Attempts for which a stream was asked.
    pub attempts: u64,
    /// Attempts that followed a failed one by the retry policy.
    pub retries: u64,
    /// Attempts that followed one which was not sent or not read.
    pub transparent_retries: u64,
    /// Attempts sent beside another that was still under way.
    pub hedges: u64,
    /// Attempts that never left this process.
    pub unsent: u64,
    /// Attempts that the server said it did not read.
    pub unprocessed: u64,
    /// Attempts that broke and may have run.
    pub ambiguous: u64,
    /// Connections made.
    pub connected: u64,
    /// Tries to connect that failed.
    pub connect_failures: u64,
    /// Connections that said GOAWAY, or that were replaced after enough calls.
    pub drained: u64,
    /// Connections that ended without one.
    pub lost: u64,
    /// Endpoints put aside by outlier detection.
    pub ejections: u64,
    /// Calls that wait for an endpoint now.
    pub waiting: usize,
    /// Every endpoint in use or being tried, in the order found.
    pub endpoints: Vec<EndpointStats>,
}

impl Stats {
    /// How many endpoints take calls.
    pub fn ready(&self) -> usize {
        let ready = |endpoint: &&EndpointStats| endpoint.state == EndpointState::Ready;
        self.endpoints.iter().filter(ready).count()
    }

    /// Why no endpoint takes calls, where the two sides' settings contradict each other so that waiting
    /// does not help: see [`ConnectFailure::is_mismatch`].
    pub fn mismatch(&self) -> Option<&ConnectFailure> {
        let takes_calls = |endpoint: &EndpointStats| match endpoint.state {
            EndpointState::Ready | EndpointState::Ejected => true,
            EndpointState::Idle
            | EndpointState::Connecting
            | EndpointState::Unhealthy
            | EndpointState::Backoff => false,
        };
        if self.endpoints.iter().any(takes_calls) {
            return None;
        }
        let failures = self.endpoints.iter().filter_map(|endpoint| endpoint.failure.as_ref());
        failures.into_iter().find(|failure| failure.is_mismatch)
    }
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointStats {
    /// Where it listens.
    pub address: Address,
    /// How it stands.
    pub state: EndpointState,
    /// Calls under way.
    pub in_flight: usize,
    /// Attempts sent to it so far.
    pub attempts: u64,
    /// Why it cannot be used, from its first failed try to connect until one succeeds.
    pub failure: Option<ConnectFailure>,
}

/// The state of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// Not in use (`pick_first` keeps one of many).
    Idle,
    /// A connection is being made.
    Connecting,
    /// Takes calls.
    Ready,
    /// Connected, and its health service does not say SERVING.
    Unhealthy,
    /// Connected, and put aside by outlier detection.
    Ejected,
    /// Waits before it is tried again.
    Backoff,
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: Count,
    pub(crate) succeeded: Count,
    pub(crate) attempts: Count,
    pub(crate) retries: Count,
    pub(crate) transparent_retries: Count,
    pub(crate) hedges: Count,
    pub(crate) unsent: Count,
    pub(crate) unprocessed: Count,
    pub(crate) ambiguous: Count,
    pub(crate) connected: Count,
    pub(crate) connect_failures: Count,
    pub(crate) drained: Count,
    pub(crate) lost: Count,
    pub(crate) ejections: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn snapshot(&self, waiting: usize, endpoints: Vec<EndpointStats>) -> Stats {
        Stats {
            calls: self.calls.get(),
            succeeded: self.succeeded.get(),
            attempts: self.attempts.get(),
            retries: self.retries.get(),
            transparent_retries: self.transparent_retries.get(),
            hedges: self.hedges.get(),
            unsent: self.unsent.get(),
            unprocessed: self.unprocessed.get(),
            ambiguous: self.ambiguous.get(),
            connected: self.connected.get(),
            connect_failures: self.connect_failures.get(),
            drained: self.drained.get(),
            lost: self.lost.get(),
            ejections: self.ejections.get(),
            waiting,
            endpoints,
        }
    }
}
