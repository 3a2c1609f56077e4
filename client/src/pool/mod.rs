//! The one task that owns discovery and the endpoints. It works with zero traffic.
//!
//! It takes resolver answers and the news of its endpoints one at a time, moves states, and publishes
//! a new [`Picker`] after each change. It ends when nobody can call any more.
//!
//! A new address list switches gracefully: an endpoint that is gone from the list takes no new call
//! once another endpoint is ready, and until then it stays in use if it still answers.

mod pace;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::watch;

pub(crate) use self::pace::CONNECTION_BACKOFF;
use self::pace::Pace;
use self::state::{Idle, News, State, Steps};
use crate::balance::{Connectivity, Picker};
use crate::config::{Backoff, Balancing};
use crate::connection::{ConnectError, Established, Loss, Setup};
use crate::entropy::Entropy;
use crate::resolve::{Address, Discovery, ResolveError, Resolved};

/// Names an endpoint within its channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointId(u64);

/// What connections and calls know of their endpoint.
#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) id: EndpointId,
    pub(crate) address: Address,
}

struct Endpoint {
    shared: Arc<EndpointShared>,
    state: State,
    /// Gone from the resolver's list; kept while no other endpoint is ready.
    leaving: bool,
}

pub(crate) struct Pool {
    setup: Arc<Setup>,
    balancing: Balancing,
    backoff: Backoff,
    entropy: Arc<Entropy>,
    discovery: Discovery,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    next_id: u64,
    steps: Steps,
    unresolved: Option<Arc<str>>,
    publish: watch::Sender<Arc<Picker>>,
}

impl Pool {
    pub(crate) fn new(
        setup: Arc<Setup>,
        balancing: Balancing,
        backoff: Backoff,
        entropy: Arc<Entropy>,
        discovery: Discovery,
    ) -> (Self, watch::Receiver<Arc<Picker>>) {
        let picker = Picker::new(balancing, Vec::new(), Connectivity::Connecting, &entropy);
        let (publish, pickers) = watch::channel(Arc::new(picker));
        let pool = Self {
            setup,
            balancing,
            backoff,
            entropy,
            discovery,
            endpoints: BTreeMap::new(),
            next_id: 0,
            steps: Steps::default(),
            unresolved: None,
            publish,
        };
        (pool, pickers)
    }

    /// Works until the last receiver of pickers is gone.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.publish.closed() => return,
                Some(step) = self.steps.0.next() => match step {
                    Ok((id, news)) => self.take(id, news),
                    Err(_aborted) => continue,
                },
                answer = self.discovery.next() => self.resolved(answer),
            }
            self.settle();
        }
    }

    fn resolved(&mut self, answer: Result<Resolved, ResolveError>) {
        match answer {
            Ok(resolved) if !resolved.addresses.is_empty() => {
                self.unresolved = None;
                self.switch_to(resolved.addresses);
            }
            Ok(_) => self.unresolved = Some("the resolver found no address".into()),
            Err(error) => {
                tracing::warn!(%error, "name resolution failed, known endpoints stay");
                self.unresolved = Some(error.to_string().into());
            }
        }
    }

    fn switch_to(&mut self, addresses: Vec<Address>) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.leaving = !addresses.contains(&endpoint.shared.address);
        }
        for address in addresses {
            let known = |endpoint: &Endpoint| endpoint.shared.address == address;
            if !self.endpoints.values().any(known) {
                self.add(address);
            }
        }
    }

    fn add(&mut self, address: Address) {
        let id = EndpointId(self.next_id);
        self.next_id += 1;
        tracing::debug!(endpoint = %address, "endpoint added");
        let shared = Arc::new(EndpointShared { id, address });
        let idle = Idle::new(Pace::new(self.backoff));
        let state = idle.connect(&shared, &self.setup, &self.entropy, &self.steps);
        self.endpoints.insert(id, Endpoint { shared, state, leaving: false });
    }

    fn take(&mut self, id: EndpointId, news: News) {
        let Some(Endpoint { shared, state, leaving }) = self.endpoints.remove(&id) else { return };
        let next = match (state, news) {
            (State::Connecting(connecting), News::Connected(Ok(established))) => {
                self.became_ready(&shared, connecting, established)
            }
            (State::Connecting(connecting), News::Connected(Err(error))) => {
                self.connect_failed(&shared, connecting, &error)
            }
            (State::Ready(ready), News::Lost(loss)) => {
                self.lost(&shared, &loss);
                self.connect(ready.lost(), &shared)
            }
            (State::Backoff(backoff), News::Rested) => self.connect(backoff.rested(), &shared),
            // A step ends with its state, so no other news can come.
            (state, News::Connected(_) | News::Lost(_) | News::Rested) => state,
        };
        self.endpoints.insert(id, Endpoint { shared, state: next, leaving });
    }

    fn became_ready(
        &self,
        shared: &EndpointShared,
        connecting: state::Connecting,
        established: Established,
    ) -> State {
        tracing::debug!(endpoint = %shared.address, "endpoint ready");
        State::Ready(connecting.ready(established, &self.steps))
    }

    fn connect_failed(
        &mut self,
        shared: &Arc<EndpointShared>,
        connecting: state::Connecting,
        error: &ConnectError,
    ) -> State {
        tracing::debug!(endpoint = %shared.address, %error, "connecting failed");
        self.discovery.hurry();
        let why = format!("{}: {error}", shared.address).into();
        self.connect(connecting.failed(why), shared)
    }

    fn lost(&mut self, shared: &EndpointShared, loss: &Loss) {
        match loss {
            Loss::Goaway(goaway) => {
                tracing::debug!(endpoint = %shared.address, reason = ?goaway.reason, "endpoint drains");
            }
            Loss::Ended(why) => {
                tracing::debug!(endpoint = %shared.address, why, "endpoint lost");
            }
        }
        self.discovery.hurry();
    }

    fn connect(&self, idle: Idle, shared: &Arc<EndpointShared>) -> State {
        idle.connect(shared, &self.setup, &self.entropy, &self.steps)
    }

    /// Lets go of what left, then tells calls how things stand.
    fn settle(&mut self) {
        let ready = |endpoint: &Endpoint| endpoint.state.connection().is_some();
        let replaced = self.endpoints.values().any(|it| !it.leaving && ready(it));
        self.endpoints.retain(|_, it| !it.leaving || (ready(it) && !replaced));
        let connections: Vec<_> =
            self.endpoints.values().filter_map(|it| it.state.connection().cloned()).collect();
        let state = self.connectivity(!connections.is_empty());
        let picker = Picker::new(self.balancing, connections, state, &self.entropy);
        self.publish.send_replace(Arc::new(picker));
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
        let failures: Option<Vec<&str>> =
            self.endpoints.values().map(|it| it.state.failure().map(|why| &**why)).collect();
        match failures {
            Some(all) => Connectivity::Failing(summary(&all).into()),
            None => Connectivity::Connecting,
        }
    }
}

/// The first few reasons: a status message must not grow with the number of endpoints.
fn summary(failures: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown = failures[..failures.len().min(SHOWN)].join("; ");
    match failures.len().saturating_sub(SHOWN) {
        0 => format!("no endpoint can be reached: {shown}"),
        more => format!("no endpoint can be reached: {shown}; and {more} more"),
    }
}
