//! The one task that owns discovery and the endpoints. It works with zero traffic.
//!
//! It takes resolver answers, the news of its endpoints and the notices of calls one at a time, moves
//! states, and publishes a new [`Picker`] after each change. It ends when nobody can call any more.
//!
//! A new address list switches gracefully: an endpoint that is gone from the list takes no new call
//! once another endpoint is ready, and until then it stays in use if it still answers.

mod complaint;
mod endpoint;
mod failures;
mod outlier;
mod pace;
mod race;
mod state;
mod view;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::complaint::Complaint;
pub(crate) use self::endpoint::{EndpointId, EndpointShared};
use self::endpoint::{NOTICES_MAX, Notice};
use self::outlier::{Ejection, Host};
pub(crate) use self::pace::CONNECTION_BACKOFF;
use self::pace::Pace;
use self::state::{Idle, News, State, Steps};
use crate::balance::{Connectivity, Picker};
use crate::config::{Balancing, OutlierDetection};
use crate::connection::{ConnectError, ConnectFailure, Loss, Setup};
use crate::meters::ConnectionEvent;
use crate::resolve::{Address, Discovery, ResolveError, Resolved};
use crate::telemetry::Telemetry;

struct Endpoint {
    shared: Arc<EndpointShared>,
    state: State,
    /// Place in the resolver's list.
    rank: usize,
    /// Gone from the resolver's list; kept while no other endpoint is ready.
    leaving: bool,
    ejection: Ejection,
}

pub(crate) struct Pool {
    setup: Arc<Setup>,
    balancing: Balancing,
    outlier: Option<OutlierDetection>,
    discovery: Discovery,
    telemetry: Arc<Telemetry>,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    last_id: u64,
    steps: Steps,
    notices: (mpsc::Sender<Notice>, mpsc::Receiver<Notice>),
    /// When `pick_first` tries the next address.
    race_at: Option<Instant>,
    /// When outlier detection looks again.
    sweep_at: Option<Instant>,
    unresolved: Option<Arc<str>>,
    complaint: Complaint,
    publisher: watch::Sender<Arc<Picker>>,
}

impl Pool {
    pub(crate) fn new(
        setup: Arc<Setup>,
        balancing: Balancing,
        outlier: Option<OutlierDetection>,
        discovery: Discovery,
        telemetry: Arc<Telemetry>,
    ) -> (Self, watch::Receiver<Arc<Picker>>) {
        let nothing = (Vec::new(), Connectivity::Connecting, Box::default());
        let picker = Picker::new(balancing, nothing.0, nothing.1, nothing.2, &setup.entropy);
        let (publisher, pickers) = watch::channel(Arc::new(picker));
        let sweep_at = outlier.as_ref().map(|config| Instant::now() + outlier::interval(config));
        let pool = Self {
            setup,
            balancing,
            outlier,
            discovery,
            telemetry,
            endpoints: BTreeMap::new(),
            last_id: EndpointId::NONE,
            steps: Steps::default(),
            notices: mpsc::channel(NOTICES_MAX),
            race_at: None,
            sweep_at,
            unresolved: None,
            complaint: Complaint::default(),
            publisher,
        };
        (pool, pickers)
    }

    /// Works until the last receiver of pickers is gone.
    pub(crate) async fn run(mut self) {
        let setup = Arc::clone(&self.setup);
        loop {
            tokio::select! {
                () = self.publisher.closed() => return,
                Some(step) = self.steps.0.next() => match step {
                    Ok((id, news)) => self.take(id, news),
                    Err(_aborted) => continue,
                },
                answer = self.discovery.next() => self.resolved(answer),
                Some(notice) = self.notices.1.recv() => self.noticed(notice),
                () = setup.hurry.notified() => {
                    self.discovery.hurry();
                    self.retry_now();
                }
                () = at(self.race_at) => {}
                () = at(self.sweep_at) => self.sweep(),
            }
            if self.picks_first() {
                self.race(Instant::now());
            }
            self.publish();
        }
    }

    fn picks_first(&self) -> bool {
        matches!(self.balancing, Balancing::PickFirst { .. })
    }

    fn resolved(&mut self, answer: Result<Resolved, ResolveError>) {
        match answer {
            Ok(resolved) if !resolved.addresses.is_empty() => {
                let named_again = self.unresolved.take().is_some();
                self.switch_to(resolved.addresses);
                // Addresses that come back after the name was gone are news, not another try of the old.
                if named_again {
                    self.retry_now();
                }
            }
            Ok(_) => self.unresolved = Some("the resolver found no address".into()),
            Err(error) => {
                tracing::warn!(%error, "name resolution failed, known endpoints stay");
                self.unresolved = Some(error.to_string().into());
            }
        }
    }

    fn switch_to(&mut self, mut addresses: Vec<Address>) {
        if let Balancing::PickFirst { shuffle } = self.balancing {
            if shuffle {
                self.setup.entropy.shuffle(&mut addresses);
            }
            addresses = race::interleave(addresses);
        }
        for endpoint in self.endpoints.values_mut() {
            let place = addresses.iter().position(|address| *address == endpoint.shared.address);
            endpoint.leaving = place.is_none();
            endpoint.rank = place.unwrap_or(usize::MAX);
        }
        for (rank, address) in addresses.into_iter().enumerate() {
            if !self.endpoints.values().any(|known| known.shared.address == address) {
                self.add(address, rank);
            }
        }
    }

    fn add(&mut self, address: Address, rank: usize) {
        self.last_id += 1;
        let id = EndpointId::from_raw(self.last_id).expect("counted up from none");
        tracing::debug!(endpoint = %address, "endpoint added");
        let notices = self.notices.0.clone();
        let shared = Arc::new(EndpointShared::new(id, address, self.outlier.as_ref(), notices));
        let idle = Idle::new(Pace::new(self.setup.backoff));
        let state =
            if self.picks_first() { State::Idle(idle) } else { self.connect(idle, &shared) };
        let ejection = Ejection::default();
        self.endpoints.insert(id, Endpoint { shared, state, rank, leaving: false, ejection });
    }

    /// Tries endpoints that rest at once, with their backoff begun anew.
    fn retry_now(&mut self) {
        let all: Vec<_> = self.endpoints.keys().copied().collect();
        for id in all {
            self.change(id, |pool, shared, state| match state.forgiven() {
                State::Idle(idle) if !pool.picks_first() => pool.connect(idle, shared),
                state @ (State::Idle(_)
                | State::Connecting(_)
                | State::Ready(_)
                | State::Backoff(_)) => state,
            });
        }
    }

    fn take(&mut self, id: EndpointId, news: News) {
        self.change(id, |pool, shared, state| match (state, news) {
            (State::Connecting(connecting), News::Connected(Ok(established))) => {
                if connecting.is_another_try() {
                    tracing::info!(endpoint = %shared.address, "endpoint can be reached again");
                } else {
                    tracing::debug!(endpoint = %shared.address, "endpoint connected");
                }
                pool.telemetry.connection(ConnectionEvent::Connected);
                State::Ready(connecting.ready(established, &pool.setup, &pool.steps))
            }
            (State::Connecting(connecting), News::Connected(Err(error))) => {
                let why = pool.connect_failed(shared, &error);
                pool.connect(connecting.failed(why), shared)
            }
            (State::Ready(ready), News::Lost(loss)) => {
                pool.lost(shared, &loss);
                let idle = ready.lost(&loss);
                if pool.picks_first() { State::Idle(idle) } else { pool.connect(idle, shared) }
            }
            (State::Backoff(backoff), News::Rested) => pool.connect(backoff.rested(), shared),
            // A step ends with its state, so no other news can come.
            (state, News::Connected(_) | News::Lost(_) | News::Rested) => state,
        });
    }

    /// Moves one endpoint to its next state.
    fn change(
        &mut self,
        id: EndpointId,
        next: impl FnOnce(&mut Self, &Arc<EndpointShared>, State) -> State,
    ) {
        let Some(Endpoint { shared, state, rank, leaving, ejection }) = self.endpoints.remove(&id)
        else {
            return;
        };
        let state = next(self, &shared, state);
        self.endpoints.insert(id, Endpoint { shared, state, rank, leaving, ejection });
    }

    fn connect(&self, idle: Idle, shared: &Arc<EndpointShared>) -> State {
        idle.connect(shared, &self.setup, &self.steps)
    }

    fn connect_failed(&mut self, shared: &EndpointShared, error: &ConnectError) -> ConnectFailure {
        match self.complaint.may_tell(Instant::now()) {
            Some(untold) => {
                tracing::warn!(endpoint = %shared.address, %error, untold, "connecting failed");
            }
            None => tracing::debug!(endpoint = %shared.address, %error, "connecting failed"),
        }
        self.telemetry.connection(ConnectionEvent::Failed);
        self.discovery.hurry();
        // The next address in a race need not wait for its turn.
        self.race_at = self.race_at.map(|_| Instant::now());
        let message = format!("{}: {error}", shared.address).into();
        ConnectFailure { message, is_mismatch: error.is_mismatch() }
    }

    fn lost(&mut self, shared: &EndpointShared, loss: &Loss) {
        let event = match loss {
            Loss::Goaway(goaway) => {
                let reason = goaway.reason.description();
                tracing::debug!(endpoint = %shared.address, reason, "endpoint drains");
                ConnectionEvent::Drained
            }
            Loss::Spent => {
                tracing::debug!(endpoint = %shared.address, "connection replaced: it carried enough calls");
                ConnectionEvent::Drained
            }
            Loss::Ended(why) => {
                tracing::debug!(endpoint = %shared.address, why, "endpoint lost");
                ConnectionEvent::Lost
            }
        };
        self.telemetry.connection(event);
        // A connection that we replace ourselves says nothing of the address behind it.
        if *loss != Loss::Spent {
            self.discovery.hurry();
        }
    }

    fn noticed(&mut self, notice: Notice) {
        match notice {
            // Publishing looks at the health of all.
            Notice::Health(_) => {}
            Notice::Suspect(id) => self.suspect(id),
        }
    }

    fn suspect(&mut self, suspect: EndpointId) {
        let Some(config) = self.outlier.clone() else { return };
        let Some(index) = self.endpoints.keys().position(|id| *id == suspect) else { return };
        let mut hosts: Vec<_> = self.endpoints.values_mut().map(Endpoint::untallied).collect();
        if outlier::suspect(&config, &mut hosts, index, Instant::now()) {
            self.telemetry.connection(ConnectionEvent::Ejected);
        }
        if let Some(endpoint) = self.endpoints.get(&suspect) {
            endpoint.shared.forgive();
        }
    }

    fn sweep(&mut self) {
        let Some(config) = self.outlier.clone() else { return };
        let now = Instant::now();
        self.sweep_at = Some(now + outlier::interval(&config));
        let mut hosts: Vec<_> = self.endpoints.values_mut().map(Endpoint::tallied).collect();
        for _ in 0..outlier::sweep(&config, &mut hosts, now, &self.setup.entropy) {
            self.telemetry.connection(ConnectionEvent::Ejected);
        }
    }
}

impl Endpoint {
    fn tallied(&mut self) -> Host<'_> {
        let (succeeded, failed) = self.shared.take_tally();
        Host { succeeded, failed, ejection: &mut self.ejection }
    }

    fn untallied(&mut self) -> Host<'_> {
        Host { succeeded: 0, failed: 0, ejection: &mut self.ejection }
    }
}

/// That moment; never, if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
