//! The states of one endpoint as types: Idle → Connecting → Ready → Backoff → Idle.
//!
//! A transition consumes the state it starts from, so one that makes no sense does not compile: only
//! [`Connecting`] becomes [`Ready`], and only [`Ready`] has a connection to pick. What a state waits
//! for is a step in the pool's [`Steps`]; leaving the state, or dropping it, ends the step.
//!
//! A connection that said GOAWAY is no state of the endpoint: it leaves the pool at once, finishes
//! its calls by itself, and the endpoint goes on without it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use h2::Reason;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use super::pace::{Ended, Pace};
use super::{EndpointId, EndpointShared};
use crate::connection::{
    ConnectError, ConnectFailure, Connection, Established, Loss, Setup, establish, health,
};

/// What an endpoint's step came to.
pub(super) enum News {
    Connected(Result<Established, ConnectError>),
    Lost(Loss),
    Rested,
}

type Step = Pin<Box<dyn Future<Output = (EndpointId, News)> + Send>>;

/// What the endpoints of a pool are waiting for: at most one step each.
#[derive(Default)]
pub(super) struct Steps(pub(super) FuturesUnordered<Abortable<Step>>);

impl Steps {
    fn push(&self, id: EndpointId, step: BoxFuture<'static, News>) -> Guard {
        let (handle, registration) = AbortHandle::new_pair();
        let step: Step = Box::pin(async move { (id, step.await) });
        self.0.push(Abortable::new(step, registration));
        Guard(handle)
    }
}

/// Ends a step when its state is left.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) enum State {
    Idle(Idle),
    Connecting(Connecting),
    Ready(Ready),
    Backoff(Backoff),
}

/// Nothing under way.
pub(super) struct Idle {
    pace: Pace,
}

/// A connection is being made.
pub(super) struct Connecting {
    pace: Pace,
    _step: Guard,
}

/// Takes calls.
pub(super) struct Ready {
    pace: Pace,
    pub(super) connection: Arc<Connection>,
    _step: Guard,
    _health: Option<AbortOnDropHandle<()>>,
}

/// Waits for the next try.
pub(super) struct Backoff {
    pace: Pace,
    _step: Guard,
}

impl Idle {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace }
    }

    /// Connects at once, or as soon as the pace allows.
    pub(super) fn connect(
        mut self,
        endpoint: &Arc<EndpointShared>,
        setup: &Arc<Setup>,
        steps: &Steps,
    ) -> State {
        let id = endpoint.id;
        if let Some(moment) = self.pace.wait_until() {
            let step = steps.push(
                id,
                Box::pin(async move {
                    sleep_until(moment).await;
                    News::Rested
                }),
            );
            return State::Backoff(Backoff { pace: self.pace, _step: step });
        }
        self.pace.started(&setup.entropy);
        let (setup, endpoint) = (Arc::clone(setup), Arc::clone(endpoint));
        let step = async move { News::Connected(establish(&setup, endpoint).await) };
        let step = steps.push(id, Box::pin(step));
        State::Connecting(Connecting { pace: self.pace, _step: step })
    }
}

impl Connecting {
    pub(super) fn ready(
        mut self,
        established: Established,
        setup: &Arc<Setup>,
        steps: &Steps,
    ) -> Ready {
        self.pace.succeeded();
        let Established { connection, lost } = established;
        let watched = Arc::clone(&connection);
        let step = async move {
            let gone = |_| Loss::Ended("its task ended".to_owned());
            // What the driver says is the better reason where both are known.
            News::Lost(tokio::select! {
                biased;
                loss = lost => loss.unwrap_or_else(gone),
                () = watched.spent() => Loss::Spent,
            })
        };
        let step = steps.push(connection.endpoint.id, Box::pin(step));
        let health = setup.health_service.as_ref().map(|service| {
            let (connection, setup) = (Arc::clone(&connection), Arc::clone(setup));
            let watch = health::watch(connection, setup, service.clone());
            AbortOnDropHandle::new(tokio::spawn(watch))
        });
        Ready { pace: self.pace, connection, _step: step, _health: health }
    }

    /// Whether the try before this one failed.
    pub(super) fn is_another_try(&self) -> bool {
        self.pace.failed.is_some()
    }

    pub(super) fn failed(mut self, why: ConnectFailure) -> Idle {
        self.pace.failed = Some(why);
        Idle { pace: self.pace }
    }
}

impl Ready {
    pub(super) fn lost(mut self, loss: &Loss) -> Idle {
        let worked = self.connection.has_worked();
        self.pace.ended(match loss {
            Loss::Spent => Ended::Worked,
            // Whoever asks for calm means us: coming back at once is what it asked us not to do.
            Loss::Goaway(goaway) if goaway.reason == Reason::ENHANCE_YOUR_CALM => Ended::Useless,
            Loss::Goaway(_) | Loss::Ended(_) if worked => Ended::Worked,
            Loss::Goaway(goaway) if goaway.reason == Reason::NO_ERROR => Ended::AskedToLeave,
            Loss::Goaway(_) | Loss::Ended(_) => Ended::Useless,
        });
        Idle { pace: self.pace }
    }
}

impl Backoff {
    pub(super) fn rested(self) -> Idle {
        Idle { pace: self.pace }
    }
}

impl State {
    /// Why the endpoint cannot be reached, from its first failed try until one succeeds.
    pub(super) fn failure(&self) -> Option<&ConnectFailure> {
        let (Self::Idle(Idle { pace })
        | Self::Connecting(Connecting { pace, .. })
        | Self::Ready(Ready { pace, .. })
        | Self::Backoff(Backoff { pace, .. })) = self;
        pace.failed.as_ref()
    }

    /// Ends whatever is under way. Calls on a connection finish.
    pub(super) fn park(self) -> Idle {
        let (Self::Idle(Idle { pace })
        | Self::Connecting(Connecting { pace, .. })
        | Self::Ready(Ready { pace, .. })
        | Self::Backoff(Backoff { pace, .. })) = self;
        Idle { pace }
    }

    /// Lets the next try start at once. What is under way goes on; a rest is over.
    pub(super) fn forgiven(mut self) -> Self {
        let (Self::Idle(Idle { pace })
        | Self::Connecting(Connecting { pace, .. })
        | Self::Ready(Ready { pace, .. })
        | Self::Backoff(Backoff { pace, .. })) = &mut self;
        pace.forgive();
        match self {
            Self::Backoff(backoff) => Self::Idle(backoff.rested()),
            other @ (Self::Idle(_) | Self::Connecting(_) | Self::Ready(_)) => other,
        }
    }

    pub(super) fn connection(&self) -> Option<&Arc<Connection>> {
        match self {
            Self::Ready(ready) => Some(&ready.connection),
            Self::Idle(_) | Self::Connecting(_) | Self::Backoff(_) => None,
        }
    }
}
