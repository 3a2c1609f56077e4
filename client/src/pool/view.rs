//! What the pool shows: a picker for calls and the state of each endpoint for people.

use std::sync::Arc;

use super::state::State;
use super::{Endpoint, Pool};
use crate::balance::{Connectivity, Picker, Seen};
use crate::connection::ConnectFailure;
use crate::connection::health::Health;
use crate::stats::EndpointState;

impl Pool {
    /// Lets go of what left, then tells calls how things stand.
    pub(super) fn publish(&mut self) {
        let ready = |endpoint: &Endpoint| endpoint.shown() == EndpointState::Ready;
        let replaced = self.endpoints.values().any(|it| !it.leaving && ready(it));
        self.endpoints.retain(|_, it| !it.leaving || (ready(it) && !replaced));
        let ejected = |endpoint: &Endpoint| endpoint.shown() == EndpointState::Ejected;
        let none_ready = !self.endpoints.values().any(ready);
        // Better an outlier than nobody.
        let usable = |it: &&Endpoint| ready(it) || (none_ready && ejected(it));
        let connections: Vec<_> = self
            .endpoints
            .values()
            .filter(usable)
            .filter_map(|it| it.state.connection().cloned())
            .collect();
        let state = self.connectivity(!connections.is_empty());
        let seen = self.endpoints.values().map(Endpoint::seen).collect();
        let picker = Picker::new(self.balancing, connections, state, seen, &self.setup.entropy);
        self.publisher.send_replace(Arc::new(picker));
    }

    /// An endpoint that failed counts as failing until it is ready, even while it is tried again.
    fn connectivity(&self, any_ready: bool) -> Connectivity {
        if any_ready {
            return Connectivity::Ready;
        }
        if self.endpoints.is_empty() {
            let failing = self.unresolved.clone().map(Connectivity::Failing);
            return failing.unwrap_or(Connectivity::Connecting);
        }
        let failures: Option<Vec<ConnectFailure>> =
            self.endpoints.values().map(Endpoint::failure).collect();
        match failures {
            Some(all) => Connectivity::Failing(summary(&all).into()),
            None => Connectivity::Connecting,
        }
    }
}

impl Endpoint {
    pub(super) fn shown(&self) -> EndpointState {
        match &self.state {
            State::Idle(_) => EndpointState::Idle,
            State::Connecting(_) => EndpointState::Connecting,
            State::Backoff(_) => EndpointState::Backoff,
            State::Ready(ready) => match ready.connection.health() {
                Health::Unknown => EndpointState::Connecting,
                Health::NotServing => EndpointState::Unhealthy,
                Health::Serving if self.ejection.is_ejected() => EndpointState::Ejected,
                Health::Serving => EndpointState::Ready,
            },
        }
    }

    fn failure(&self) -> Option<ConnectFailure> {
        if self.shown() == EndpointState::Unhealthy {
            let message = format!("{}: its health is not SERVING", self.shared.address).into();
            return Some(ConnectFailure { message, is_mismatch: false });
        }
        self.state.failure().cloned()
    }

    fn seen(&self) -> Seen {
        Seen {
            endpoint: Arc::clone(&self.shared),
            connection: self.state.connection().cloned(),
            state: self.shown(),
            failure: self.failure(),
        }
    }
}

/// The first few reasons: a status message must not grow with the number of endpoints.
fn summary(failures: &[ConnectFailure]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = failures.iter().take(SHOWN).map(|failure| &*failure.message).collect();
    let shown = shown.join("; ");
    match failures.len().saturating_sub(SHOWN) {
        0 => format!("no endpoint can be reached: {shown}"),
        more => format!("no endpoint can be reached: {shown}; and {more} more"),
    }
}
