//! The clients: each order by its number, asked for again with the same key until it is placed.
//!
//! The channel retries by itself what it may; a caller asks again only after the channel gave up.
//! Which order every key was answered with is remembered, 24 bytes a request, and held against the
//! books in the end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use client::Channel;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{PlaceOrderReply, PlaceOrderRequest};
use tests::load::{Answer, Mix, Verdict, Work};
use tonic::transport::{self, Endpoint};
use tonic::{Code, Request, Status};
use uuid::Uuid;

/// Document A's retry policy; an order is idempotent by its key, and waits while no pod is there.
const SERVICE_CONFIG: &str = r#"{"methodConfig": [{
    "name": [{ "service": "order.v1.OrderService" }],
    "idempotent": true,
    "waitForReady": true,
    "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
    }
}]}"#;

/// Before a caller asks again.
const PAUSE: Duration = Duration::from_millis(500);

/// One client: a channel with one connection.
#[derive(Clone)]
pub(crate) enum Client {
    /// Ours.
    Holdfast(Channel),
    /// tonic's, which retries nothing.
    Plain(transport::Channel),
}

/// All clients, and what they were told.
pub(crate) struct Callers {
    clients: Vec<Client>,
    pub(crate) mix: Mix,
    first_account: i64,
    deadline: Duration,
    told: Mutex<HashMap<u64, Uuid>>,
}

/// What the channels did, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Attempts beyond the first of each call.
    pub(crate) retries: u64,
    /// Connections that a server asked to leave.
    pub(crate) drained: u64,
    /// Connections that broke.
    pub(crate) lost: u64,
}

impl Client {
    /// A client of ours; the seed decides its jitter.
    pub(crate) fn holdfast(target: &str, seed: u64) -> Result<Self, client::BuildError> {
        let builder = Channel::builder(target).service_config(SERVICE_CONFIG).seed(seed);
        let builder = builder.keepalive(Duration::from_secs(10), Duration::from_secs(5));
        builder.keepalive_without_calls(true).build().map(Self::Holdfast)
    }

    /// tonic's channel as everybody makes it, with the keepalive that ours has.
    pub(crate) fn plain(target: &str) -> Result<Self, transport::Error> {
        let endpoint = Endpoint::from_shared(target.to_owned())?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5));
        Ok(Self::Plain(endpoint.connect_lazy()))
    }

    async fn place(
        &self,
        request: PlaceOrderRequest,
        timeout: Duration,
    ) -> Result<PlaceOrderReply, Status> {
        let mut request = Request::new(request);
        request.set_timeout(timeout);
        let reply = match self {
            Self::Holdfast(channel) => {
                OrderServiceClient::new(channel.clone()).place_order(request).await
            }
            Self::Plain(channel) => {
                OrderServiceClient::new(channel.clone()).place_order(request).await
            }
        };
        reply.map(tonic::Response::into_inner)
    }
}

impl Callers {
    pub(crate) fn new(
        clients: Vec<Client>,
        mix: Mix,
        first_account: i64,
        deadline: Duration,
    ) -> Self {
        assert!(!clients.is_empty(), "nobody to send orders");
        Self { clients, mix, first_account, deadline, told: Mutex::default() }
    }

    /// Waits until every client of ours has its connection.
    pub(crate) async fn ready(&self) {
        for client in &self.clients {
            if let Client::Holdfast(channel) = client {
                channel.until(|stats| stats.ready() > 0).await;
            }
        }
    }

    /// What the channels did so far; tonic's do not tell.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for client in &self.clients {
            if let Client::Holdfast(channel) = client {
                let stats = channel.stats();
                totals.retries += stats.retries + stats.transparent_retries;
                totals.drained += stats.drained;
                totals.lost += stats.lost;
            }
        }
        totals
    }

    /// The order that each request was answered with, by the request's number.
    pub(crate) fn told(&self) -> MutexGuard<'_, HashMap<u64, Uuid>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client_of(&self, number: u64) -> &Client {
        let count = u64::try_from(self.clients.len()).expect("a count");
        &self.clients[usize::try_from(number % count).expect("less than a length")]
    }
}

impl Work for Callers {
    async fn send(&self, number: u64) -> Answer {
        let (client, mut order) = (self.client_of(number), self.mix.order(number));
        order.account_id += self.first_account - 1;
        let end = Instant::now() + self.deadline;
        let mut retries = 0;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let code = match client.place(order.clone(), left).await {
                Ok(reply) => return Answer { verdict: self.remember(number, &reply), retries },
                Err(status) => status.code(),
            };
            let asks_again = matches!(client, Client::Holdfast(_)) && may_be_asked_again(code);
            if !asks_again || end.saturating_duration_since(Instant::now()) <= PAUSE {
                return Answer { verdict: Verdict::Failed(code), retries };
            }
            tokio::time::sleep(PAUSE).await;
            retries += 1;
        }
    }
}

impl Callers {
    /// An answer without an order's id is none.
    fn remember(&self, number: u64, reply: &PlaceOrderReply) -> Verdict {
        let order_id = reply.order.as_ref().and_then(|order| order.order_id.parse().ok());
        match order_id {
            Some(order_id) => {
                self.told().insert(number, order_id);
                Verdict::Done
            }
            None => Verdict::Failed(Code::DataLoss),
        }
    }
}

/// What may go away when the same order is asked for again. Every one of these is safe: it is the
/// same key.
fn may_be_asked_again(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            // What a pod of the version before may say of a key that another pod works on.
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Internal
            | Code::Unknown
            | Code::Cancelled
    )
}
