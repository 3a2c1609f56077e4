//! The matrix of duplicates: however many at once, on however many pods, with Redis up, down, stopped or none, with a
//! request among them that differs, and with a pod that is killed midway: one key, one order, the same answer to all
//! whose key it is.

mod case;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use database::DatabaseUrl;
use futures_util::future::join_all;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{GetAccountRequest, OpenAccountRequest};
use proto::order::v1::{OnDuplicate, PlaceOrderReply, PlaceOrderRequest};
use proto::{Money, Reason};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::HarnessError;
use crate::ask::persist;
use crate::chaos::books::Books;
use crate::cluster::{Binaries, Cluster, Plan, SHORT_LEASES, connect};
use crate::redis::Redis;

pub use case::{Case, Guard};

const ACCOUNT: i64 = 7;
const OPENING: i64 = 1_000_000;

/// What the order costs, and what the request that differs would pay.
const PRICES: [i64; 2] = [10, 11];

/// When a pod is killed: an order takes longer, so most callers have no answer by then.
const MIDWAY: Duration = Duration::from_millis(15);

/// A pod takes 100 streams a connection; the largest crowd is in flight at once.
const CONNECTIONS: usize = 10;

/// For captures to be told.
const SETTLING: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// Two pods, with one kind of guard, on SQLite.
#[derive(Debug)]
pub struct Matrix {
    guard: Guard,
    cluster: Cluster,
    redis: Redis,
    books: Books,
    spent: i64,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub case: Case,
    /// From the first call to the last answer.
    pub took: Duration,
    /// Callers that had no answer yet when the pod was killed.
    pub cut_off: Option<usize>,
    /// Callers that were told of the order; the others, that the key is another's.
    pub told: usize,
    /// What should not be so.
    pub wrong: Vec<String>,
}

type Answer = Result<PlaceOrderReply, Reason>;

impl Matrix {
    /// Starts the pods, and brings Redis where it is to be.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(guard: Guard) -> Result<Self, HarnessError> {
        let mut redis = Redis::start().await?;
        let mut order_flags: Vec<String> = SHORT_LEASES.map(String::from).into();
        if guard != Guard::Absent {
            order_flags.extend(["--redis-url".to_owned(), redis.url()]);
        }
        let plan = Plan { account_pods: 1, order_flags, ..Plan::default() };
        let cluster = Cluster::start(Binaries::build()?, plan).await?;
        match guard {
            Guard::Absent | Guard::Up => {}
            Guard::Stopped => redis.freeze(),
            Guard::Down => redis.kill()?,
        }
        let read = |url: &str| -> DatabaseUrl { url.parse().expect("the services took it") };
        let databases = cluster.databases();
        let books = Books { account: read(&databases.account), order: read(&databases.order) };
        let mut accounts = AccountServiceClient::new(connect(&cluster.account[0]).await?);
        let (currency, opening_balance) = (String::new(), OPENING.to_string());
        let request = OpenAccountRequest { account_id: ACCOUNT, currency, opening_balance };
        accounts.open_account(request).await.map_err(HarnessError::call("open an account"))?;
        Ok(Self { guard, cluster, redis, books, spent: 0 })
    }

    /// Runs one case.
    ///
    /// # Errors
    /// When the harness cannot do its part; what is wrong with the answers is in the outcome.
    pub async fn run(&mut self, case: Case) -> Result<Outcome, HarnessError> {
        let channels = self.channels(case.pods)?;
        let began = Instant::now();
        let asks: Vec<_> = (0..case.callers)
            .map(|caller| {
                let (channel, request) =
                    (channels[caller % channels.len()].clone(), request(case, caller));
                tokio::spawn(async move { persist(channel, &request).await })
            })
            .collect();
        let mut cut_off = None;
        if case.killed {
            sleep(MIDWAY).await;
            self.cluster.order[0].kill()?;
            cut_off = Some(asks.iter().filter(|ask| !ask.is_finished()).count());
            self.cluster.order[0].restart()?;
        }
        let mut answers = Vec::new();
        for answer in join_all(asks).await {
            answers.push(answer.expect("a caller does not panic")?);
        }
        let took = began.elapsed();
        self.cluster.order[0].wait_ready().await?;
        let told = answers.iter().filter(|answer| answer.is_ok()).count();
        let wrong = self.judge(case, &answers).await?;
        Ok(Outcome { case, took, cut_off, told, wrong })
    }

    /// After the last case: the money went where the orders say, and both books agree.
    ///
    /// # Errors
    /// When a pod does not stop, or the books are unsound.
    pub async fn finish(mut self) -> Result<Vec<String>, HarnessError> {
        if self.guard == Guard::Stopped {
            self.redis.thaw();
        }
        let settled = async {
            while self.books.unfinished().await.map_or(true, |left| left > 0) {
                sleep(GLANCE).await;
            }
        };
        let mut wrong = Vec::new();
        if timeout(SETTLING, settled).await.is_err() {
            wrong.push("something was left to do".to_owned());
        }
        let channel = connect(&self.cluster.account[0]).await?;
        let request = GetAccountRequest { account_id: ACCOUNT };
        let account = AccountServiceClient::new(channel).get_account(request).await;
        let account = account.map_err(HarnessError::call("read the account"))?.into_inner();
        let expected = (OPENING - self.spent).to_string();
        if account.balance != expected || account.reserved != "0" {
            wrong.push(format!("{account:?}, and its balance should be {expected}"));
        }
        self.cluster.stop()?;
        self.cluster.verify()?;
        Ok(wrong)
    }

    async fn judge(&mut self, case: Case, answers: &[Answer]) -> Result<Vec<String>, HarnessError> {
        let told: BTreeSet<_> = answers
            .iter()
            .flatten()
            .map(|reply| {
                let (order, payment) =
                    (reply.order.clone().unwrap_or_default(), reply.payment.clone());
                (order.order_id, order.amount, payment.unwrap_or_default().payment_id)
            })
            .collect();
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        let mut wrong = Vec::new();
        if told.len() != 1 {
            wrong.push(format!("callers were told of {told:?}"));
        }
        if refused.iter().any(|reason| **reason != Reason::IdempotencyKeyReused) {
            wrong.push(format!("callers were refused: {refused:?}"));
        }
        // Whoever claims the key first owns it: the one that differs, or all the others.
        let differing_owns =
            told.first().is_some_and(|(_, amount, _)| *amount == PRICES[1].to_string());
        let expected = match (case.one_differs, differing_owns) {
            (true, true) => case.callers - 1,
            (true, false) => 1,
            (false, _) => 0,
        };
        if refused.len() != expected {
            wrong.push(format!("{} were told that the key is another's", refused.len()));
        }
        let key = case.key();
        let orders =
            self.books.orders_of_key(&key).await.map_err(|error| HarnessError::Failed {
                what: "reading the orders".to_owned(),
                output: error.to_string(),
            })?;
        let ids: Vec<_> = told.into_iter().map(|(order_id, ..)| order_id).collect();
        if orders.iter().map(|order| &order.order_id).ne(&ids) {
            wrong.push(format!("orders: {orders:?}"));
        }
        let spent = orders.iter().map(|order| order.units).sum::<i64>();
        self.spent += spent / Money::parse("1").map_or(1, Money::units);
        Ok(wrong)
    }

    fn channels(&self, pods: usize) -> Result<Vec<Channel>, HarnessError> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            for pod in &self.cluster.order[..pods] {
                let endpoint = Endpoint::from_shared(format!("http://{}", pod.address()))?;
                channels.push(endpoint.tcp_nodelay(true).connect_lazy());
            }
        }
        Ok(channels)
    }
}

/// The one in the middle may differ.
fn request(case: Case, caller: usize) -> PlaceOrderRequest {
    let differs = case.one_differs && caller == case.callers / 2;
    PlaceOrderRequest {
        account_id: ACCOUNT,
        idempotency_key: case.key(),
        amount: PRICES[usize::from(differs)].to_string(),
        lines: Vec::new(),
        on_duplicate: OnDuplicate::Replay.into(),
        currency: String::new(),
    }
}
