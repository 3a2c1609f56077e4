//! Which endpoint a call goes to.
//!
//! The pool publishes a [`Picker`] each time an endpoint becomes ready or stops being so; calls pick
//! from the newest one without asking anybody. A picker never changes, but the loads it looks at do.

mod least_request;
mod round_robin;

use std::sync::Arc;

use self::round_robin::RoundRobin;
use crate::config::Balancing;
use crate::connection::{ConnectFailure, Connection, Slot};
use crate::entropy::Entropy;
use crate::pool::{EndpointId, EndpointShared};
use crate::stats::{EndpointState, EndpointStats};

/// The endpoints that take calls at one moment, and how to choose among them.
pub(crate) struct Picker {
    ready: Box<[Arc<Connection>]>,
    policy: Policy,
    pub(crate) state: Connectivity,
    seen: Box<[Seen]>,
}

/// An endpoint, ready or not, as it stood when the picker was made.
pub(crate) struct Seen {
    pub(crate) endpoint: Arc<EndpointShared>,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) state: EndpointState,
    pub(crate) failure: Option<ConnectFailure>,
}

/// How the channel as a whole stands (gRPC's connectivity states).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Connectivity {
    /// No endpoint is ready yet; calls wait.
    Connecting,
    Ready,
    /// Every endpoint failed, for this reason; calls that do not wait for ready fail with it.
    Failing(Arc<str>),
}

enum Policy {
    First,
    RoundRobin(RoundRobin),
    LeastRequest { choices: usize },
}

/// What a look at the picker gave.
pub(crate) enum Pick {
    Slot(Slot),
    /// Endpoints are ready, but each has as many calls as it allows.
    Full,
    None,
}

impl Picker {
    pub(crate) fn new(
        balancing: Balancing,
        ready: Vec<Arc<Connection>>,
        state: Connectivity,
        seen: Box<[Seen]>,
        entropy: &Entropy,
    ) -> Self {
        let policy = match balancing {
            Balancing::PickFirst { .. } => Policy::First,
            Balancing::RoundRobin => Policy::RoundRobin(RoundRobin::starting(entropy)),
            Balancing::LeastRequest { choices } => Policy::LeastRequest { choices },
        };
        Self { ready: ready.into(), policy, state, seen }
    }

    pub(crate) fn endpoints(&self) -> Vec<EndpointStats> {
        let shown = |seen: &Seen| EndpointStats {
            address: seen.endpoint.address.clone(),
            state: seen.state,
            in_flight: seen.connection.as_ref().map_or(0, |connection| connection.load()),
            attempts: seen.endpoint.attempts.get(),
            failure: seen.failure.clone(),
        };
        self.seen.iter().map(shown).collect()
    }

    /// A place on a ready endpoint, on `avoid` only if there is no other.
    pub(crate) fn pick(&self, avoid: Option<EndpointId>, entropy: &Entropy) -> Pick {
        let preferred = match &self.policy {
            Policy::First => self.ready.first(),
            Policy::RoundRobin(turn) => turn.choose(&self.ready),
            Policy::LeastRequest { choices } => {
                least_request::choose(&self.ready, *choices, entropy)
            }
        };
        let Some(preferred) = preferred else { return Pick::None };
        if avoid != Some(preferred.endpoint.id)
            && let Some(slot) = preferred.try_slot()
        {
            return Pick::Slot(slot);
        }
        self.pick_any(avoid)
    }

    /// The policy's choice was full, gone or to be avoided: the least busy of the others will do.
    fn pick_any(&self, avoid: Option<EndpointId>) -> Pick {
        let usable = || self.ready.iter().filter(|connection| connection.is_usable());
        let mut by_load: Vec<_> = usable().collect();
        by_load.sort_by(|a, b| {
            let avoided = |it: &Connection| avoid == Some(it.endpoint.id);
            avoided(a).cmp(&avoided(b)).then(a.burden().total_cmp(&b.burden()))
        });
        match by_load.iter().find_map(|connection| connection.try_slot()) {
            Some(slot) => Pick::Slot(slot),
            None if by_load.is_empty() => Pick::None,
            None => Pick::Full,
        }
    }
}
