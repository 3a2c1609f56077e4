//! The desk: where everybody hands in changes and questions, and workers that own a connection each serve them.
//!
//! Promised: an accepted job is done and answered even if nobody waits for it any more. Jobs of one kind that wait
//! together are one transaction. What cannot be queued is refused at once with [`Trouble::Full`]. Questions have connections of their own and never wait behind a commit.
//!
//! A batch that the database refuses for a reason that is not going away is run again job by job, so that only the
//! guilty one fails.

use std::{error::Error, time::Duration};

use database::{
    Discontinuity, Lineage, Position, StoreError, Unready,
    lane::{self, Bounds, Lane, Refused, Runner, Work},
    pool::Pool,
};
use futures_util::{FutureExt, future::BoxFuture};
use proto::id::{AccountId, IdempotencyKey, ProductId};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    order::{
        Notice, Order,
        catalog::{Adjusted, Adjustment, Product},
        decision::{Settled, Settlement},
        key::{Claim, KeyRow},
    },
    storage::{
        Cancelled, Claimed, NewCancel, NewClaim, OrdersPage, Store, Tables, outbox::RefusedNotice,
    },
};

/// A batch that takes longer than this is no longer waited for before the next one begins.
const PATIENCE: Duration = Duration::from_millis(25);

/// Jobs of one kind that may wait, and that one transaction takes: larger ones gain little and hold locks longer.
const BOUNDS: Bounds =
    Bounds { queue: 16_384, batch: 256, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };

/// Claims are short, so that few gather while a batch of them runs, and each batch has its price. So they wait for company:
/// from some 1,500 a second on, or when a burst is as dense.
const CLAIMS: Bounds = Bounds { linger: Duration::from_millis(4), crowd: 6, ..BOUNDS };

/// Pages read together: each may be large, and other questions wait for the same connection.
const PAGES: Bounds = Bounds { queue: 4096, batch: 8, ..BOUNDS };

/// Takes jobs to the workers. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    claims: Jobs<NewClaim, Claimed>,
    take_overs: Jobs<Claim, Option<Claim>>,
    decisions: Jobs<Settlement, Settled>,
    hand_backs: Jobs<Claim, ()>,
    finished: Jobs<Notice, ()>,
    refusals: Jobs<RefusedNotice, bool>,
    cancels: Jobs<NewCancel, Option<Cancelled>>,
    product_puts: Jobs<Product, ()>,
    adjustments: Jobs<Adjustment, Adjusted>,
    keys: Jobs<(AccountId, IdempotencyKey), Option<KeyRow>>,
    orders: Jobs<(AccountId, Uuid), Option<Order>>,
    order_pages: Jobs<OrdersPage, Vec<Order>>,
    products: Jobs<ProductId, Option<Product>>,
    product_pages: Jobs<(Option<ProductId>, usize), Vec<Product>>,
    examinations: Jobs<(), Option<Unready>>,
    looks: Jobs<(), Result<Position, Discontinuity>>,
    ledger_reads: Jobs<(), Vec<Position>>,
    ledgers: Jobs<Position, ()>,
    amendments: Jobs<Claim, bool>,
    lineage: Lineage,
}

/// The workers behind a [`Desk`].
#[derive(Debug)]
pub struct DeskWorkers(Vec<Runner>);

/// Why a job came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Too much is waiting. Nothing was done.
    #[error("too much is waiting already")]
    Full,
    /// The database is away, or this process is stopping. Nothing was done.
    #[error("the service cannot reach its database")]
    Unavailable,
    /// It was done or it was not; asking finds out.
    #[error("the outcome is not known yet")]
    OutcomeUnknown,
    /// A defect, logged where it was met.
    #[error("the service failed")]
    Failed,
}

/// Opens a desk. Each kind of change has a lane to the `writers`, each kind of question one to the `readers`; whoever has
/// a batch takes a store that is free.
///
/// # Panics
/// When either is empty.
pub fn open<B: Tables>(
    lineage: Lineage,
    writers: Vec<Store<B>>,
    readers: Vec<Store<B>>,
) -> (Desk, DeskWorkers) {
    let mut all = DeskWorkers(Vec::new());
    let writers = &Pool::new(writers);
    let readers = &Pool::new(readers);
    let desk = Desk {
        claims: all
            .start_within(CLAIMS, "claim", writers, |store, batch| store.claim(batch).boxed()),
        take_overs: all.start("take_over", writers, |store, batch| store.take_over(batch).boxed()),
        decisions: all.start("decide", writers, |store, batch| store.decide(batch).boxed()),
        hand_backs: all.start("hand_back", writers, |store, batch| {
            store.hand_back(batch).map(|done| for_each(batch, done)).boxed()
        }),
        finished: all.start("finish", writers, |store, batch| {
            store.finish_notices(batch).map(|done| for_each(batch, done)).boxed()
        }),
        refusals: all.start("refuse", writers, |store, batch| store.refuse_notices(batch).boxed()),
        cancels: all.start("cancel", writers, |store, batch| store.cancel(batch).boxed()),
        product_puts: all.start("put_product", writers, |store, batch| {
            store.put_products(batch).map(|done| for_each(batch, done)).boxed()
        }),
        adjustments: all.start("adjust", writers, |store, batch| store.adjust_stock(batch).boxed()),
        keys: all.start("key", readers, |store, batch| store.keys(batch).boxed()),
        orders: all.start("order", readers, |store, batch| store.orders(batch).boxed()),
        order_pages: all.start_within(PAGES, "orders", readers, |store, batch| {
            store.list_orders(batch).boxed()
        }),
        products: all.start("product", readers, |store, batch| store.products(batch).boxed()),
        product_pages: all
            .start("products", readers, |store, batch| store.list_products(batch).boxed()),
        examinations: all.start("examine", readers, |store, batch| {
            store.examine().map(|found| Ok(vec![found.err(); batch.len()])).boxed()
        }),
        looks: all.start("look", readers, |store, batch| {
            store.look().map(|found| for_all(batch, found)).boxed()
        }),
        ledger_reads: all.start("read_ledgers", readers, |store, batch| {
            store.ledgers().map(|found| for_all(batch, found)).boxed()
        }),
        ledgers: all.start("remember_ledger", writers, |store, batch| {
            remember_ledgers(store, batch).boxed()
        }),
        amendments: all.start("amend", writers, |store, batch| store.amend(batch).boxed()),
        lineage,
    };
    (desk, all)
}

impl Desk {
    /// T0: claims a key.
    pub async fn claim(&self, claim: NewClaim) -> Result<Claimed, Trouble> {
        submit(&self.claims, claim).await
    }

    /// D: reads a key.
    pub async fn key(
        &self,
        account: AccountId,
        key: IdempotencyKey,
    ) -> Result<Option<KeyRow>, Trouble> {
        submit(&self.keys, (account, key)).await
    }

    /// T1: takes a key over. `None`: somebody else was faster.
    pub async fn take_over(&self, seen: Claim) -> Result<Option<Claim>, Trouble> {
        submit(&self.take_overs, seen).await
    }

    /// T3, T3' and T4: decides a key.
    pub async fn decide(&self, settlement: Settlement) -> Result<Settled, Trouble> {
        submit(&self.decisions, settlement).await
    }

    /// T5: ends a lease.
    pub async fn hand_back(&self, claim: Claim) -> Result<(), Trouble> {
        submit(&self.hand_backs, claim).await
    }

    /// Deletes a notice that the account service answered.
    pub async fn finish(&self, notice: Notice) -> Result<(), Trouble> {
        submit(&self.finished, notice).await
    }

    /// Keeps a notice that the account service refused. Answers whether this refusal is new.
    pub async fn refuse(&self, refused: RefusedNotice) -> Result<bool, Trouble> {
        submit(&self.refusals, refused).await
    }

    /// Cancels an order. `None`: there is no such order.
    pub async fn cancel(&self, cancel: NewCancel) -> Result<Option<Cancelled>, Trouble> {
        submit(&self.cancels, cancel).await
    }

    /// Creates or sets a product.
    pub async fn put_product(&self, product: Product) -> Result<(), Trouble> {
        submit(&self.product_puts, product).await
    }

    /// Adjusts stock.
    pub async fn adjust_stock(&self, adjustment: Adjustment) -> Result<Adjusted, Trouble> {
        submit(&self.adjustments, adjustment).await
    }

    /// Reads an order.
    pub async fn order(&self, account: AccountId, order: Uuid) -> Result<Option<Order>, Trouble> {
        submit(&self.orders, (account, order)).await
    }

    /// Reads a page of an account's orders, newest first.
    pub async fn orders(&self, page: OrdersPage) -> Result<Vec<Order>, Trouble> {
        submit(&self.order_pages, page).await
    }

    /// Reads a product.
    pub async fn product(&self, product: ProductId) -> Result<Option<Product>, Trouble> {
        submit(&self.products, product).await
    }

    /// Reads a page of the catalogue, the products after `after`.
    pub async fn products(
        &self,
        after: Option<ProductId>,
        limit: usize,
    ) -> Result<Vec<Product>, Trouble> {
        submit(&self.product_pages, (after, limit)).await
    }

    /// Whether the database can serve; `Some` says why not.
    pub async fn unready(&self) -> Result<Option<Unready>, Trouble> {
        submit(&self.examinations, ()).await
    }
}

impl Desk {
    /// Reads where the database stands and judges it against what this process has seen.
    pub async fn look(&self) -> Result<Result<Position, Discontinuity>, Trouble> {
        submit(&self.looks, ()).await
    }

    /// Which database this is. `None` until it has answered once.
    pub fn database_id(&self) -> Option<String> {
        self.lineage.database_id()
    }

    /// Takes over what somebody else has seen of this database.
    pub fn learn(&self, position: &Position) {
        self.lineage.learn(position);
    }

    /// Reads what is remembered of the ledger: nothing before the first handshake.
    pub async fn ledgers(&self) -> Result<Vec<Position>, Trouble> {
        submit(&self.ledger_reads, ()).await
    }

    /// Remembers how far the ledger has come.
    pub async fn remember_ledger(&self, ledger: Position) -> Result<(), Trouble> {
        submit(&self.ledgers, ledger).await
    }

    /// Changes order id and amount of an undecided key. False: the fence is not the claim's any more.
    pub async fn amend(&self, claim: Claim) -> Result<bool, Trouble> {
        submit(&self.amendments, claim).await
    }
}

impl DeskWorkers {
    /// Does what waits, then stops.
    pub async fn stop(self) {
        for runner in self.0 {
            runner.stop().await;
        }
    }

    fn start<B: Tables, J: Send + Sync + 'static, A: Send + 'static>(
        &mut self,
        kind: &'static str,
        stores: &Pool<Store<B>>,
        run: Run<B, J, A>,
    ) -> Jobs<J, A> {
        self.start_within(BOUNDS, kind, stores, run)
    }

    fn start_within<B: Tables, J: Send + Sync + 'static, A: Send + 'static>(
        &mut self,
        bounds: Bounds,
        kind: &'static str,
        stores: &Pool<Store<B>>,
        run: Run<B, J, A>,
    ) -> Jobs<J, A> {
        let (jobs, runner) = lane::start(kind, Kind { name: kind, run }, stores, bounds);
        self.0.push(runner);
        jobs
    }
}

type Jobs<J, A> = Lane<J, Result<A, Trouble>>;

/// How a batch of one kind is run on a store: one answer a job, in their order.
type Run<B, J, A> =
    for<'a> fn(&'a mut Store<B>, &'a [J]) -> BoxFuture<'a, Result<Vec<A>, StoreError>>;

/// One kind of job.
struct Kind<B: Tables, J, A> {
    name: &'static str,
    run: Run<B, J, A>,
}

impl<B: Tables, J: Send + Sync + 'static, A: Send + 'static> Work for Kind<B, J, A> {
    type Worker = Store<B>;
    type Job = J;
    type Answer = Result<A, Trouble>;

    async fn run(&self, store: &mut Store<B>, batch: Vec<J>) -> Vec<Self::Answer> {
        match (self.run)(store, &batch).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(StoreError::Failed(_)) if batch.len() > 1 => {
                let mut answers = Vec::with_capacity(batch.len());
                for job in &batch {
                    let alone = (self.run)(store, std::slice::from_ref(job)).await;
                    let alone = alone.map_err(|error| noted(self.name, 1, &error));
                    answers.push(alone.and_then(|mut one| one.pop().ok_or(Trouble::Failed)));
                    // The database went away meanwhile: the others would each wait for it in turn.
                    if matches!(
                        answers.last(),
                        Some(Err(Trouble::Unavailable | Trouble::OutcomeUnknown))
                    ) {
                        break;
                    }
                }
                answers.resize_with(batch.len(), || Err(Trouble::Unavailable));
                answers
            }
            Err(error) => {
                let trouble = noted(self.name, batch.len(), &error);
                batch.iter().map(|_| Err(trouble)).collect()
            }
        }
    }
}

async fn remember_ledgers<B: Tables>(
    store: &mut Store<B>,
    batch: &[Position],
) -> Result<Vec<()>, StoreError> {
    for ledger in batch {
        store.remember_ledger(ledger).await?;
    }
    Ok(vec![(); batch.len()])
}

fn for_all<J, A: Clone>(batch: &[J], found: Result<A, StoreError>) -> Result<Vec<A>, StoreError> {
    found.map(|found| vec![found; batch.len()])
}

fn for_each<J>(batch: &[J], done: Result<(), StoreError>) -> Result<Vec<()>, StoreError> {
    done.map(|()| vec![(); batch.len()])
}

async fn submit<J, A>(jobs: &Jobs<J, A>, job: J) -> Result<A, Trouble> {
    jobs.submit(job).await?
}

/// Logs an error where it is met and answers what it means.
fn noted(kind: &'static str, jobs: usize, error: &StoreError) -> Trouble {
    let source = error.source().map(tracing::field::display);
    let reason = error.reason().as_str();
    match error {
        StoreError::Unavailable(_) => {
            tracing::warn!(kind, jobs, %error, source, reason, "jobs failed");
            Trouble::Unavailable
        }
        StoreError::OutcomeUnknown(_) => {
            tracing::warn!(kind, jobs, %error, source, reason, "jobs failed");
            Trouble::OutcomeUnknown
        }
        StoreError::Failed(_) => {
            tracing::error!(kind, jobs, %error, source, reason, "jobs failed");
            Trouble::Failed
        }
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Stopping => Self::Unavailable,
            Refused::Lost => Self::OutcomeUnknown,
        }
    }
}
