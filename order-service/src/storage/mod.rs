//! What is kept, and how it is asked for: one trait, two databases.
//!
//! **One method is one transaction**, and methods take batches. A [`Store`] is one connection's worth of database,
//! owned by one worker (see [`crate::desk`]). Neither implementation decides anything: they load rows, ask
//! [`crate::order`], and write what it answers. Leases use the database's clock.

mod found;
mod lifetime;
pub mod outbox;
pub mod postgres;
pub mod sqlite;

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use database::{Backend, DatabaseUrl, Discontinuity, Lineage, Position, StoreError, Unready};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey, ProductId},
};
use serde::Serialize;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

pub use lifetime::KeyLifetime;

use crate::order::{
    Action, Notice, Order,
    catalog::{Adjusted, Adjustment, Product},
    decision::{Settled, Settlement},
    key::{Claim, KeyRow},
    request::{Price, Request, Unpriced},
};
use outbox::{Backlog, RefusedNotice, Resolved, Waiting};

/// What the service's role does with its tables. To make and drop partitions it must own the key table besides.
const PRIVILEGES: [(&str, &str); 29] = [
    ("idempotency_keys", "SELECT"),
    ("idempotency_keys", "INSERT"),
    ("idempotency_keys", "UPDATE"),
    ("orders", "SELECT"),
    ("orders", "INSERT"),
    ("orders", "UPDATE"),
    ("payments", "SELECT"),
    ("payments", "INSERT"),
    ("payments", "UPDATE"),
    ("products", "SELECT"),
    ("products", "INSERT"),
    ("products", "UPDATE"),
    ("stock_adjustments", "SELECT"),
    ("stock_adjustments", "INSERT"),
    ("outbox", "SELECT"),
    ("outbox", "INSERT"),
    ("outbox", "UPDATE"),
    ("outbox", "DELETE"),
    ("key_days", "SELECT"),
    ("key_days", "INSERT"),
    ("key_days", "UPDATE"),
    ("key_days", "DELETE"),
    ("database_identity", "SELECT"),
    ("database_identity", "UPDATE"),
    ("commit_counters", "SELECT"),
    ("commit_counters", "UPDATE"),
    ("partner_positions", "SELECT"),
    ("partner_positions", "INSERT"),
    ("partner_positions", "UPDATE"),
];

/// How long `verify` may read.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// A request that wants a key.
#[derive(Debug, Clone)]
pub struct NewClaim {
    /// What is asked for.
    pub request: Arc<Request>,
    /// The id that the order gets if the key is free.
    pub order_id: Uuid,
    /// The first fence, drawn at random: by it a worker knows its own row.
    pub fence: i32,
}

impl NewClaim {
    /// What came of it, at this price. `day` is that of its row, if it got one.
    fn answer(&self, price: Result<Price, Unpriced>, day: Option<Date>) -> Claimed {
        let Price { amount, currency } = match price {
            Ok(price) => price,
            Err(unpriced) => return Claimed::Unpriced(unpriced),
        };
        let (request, order_id, fence) = (self.request.clone(), self.order_id, self.fence);
        let claim = |day| Claimed::Mine(Claim { request, order_id, amount, currency, fence, day });
        day.map_or(Claimed::Taken, claim)
    }
}

/// Which claims the database is asked about, and at which price: of each key the first that has one. The others find the
/// key taken, by that claim or by whoever had it before.
fn askers(claims: &[NewClaim], priced: &[Result<Price, Unpriced>]) -> Vec<Option<Price>> {
    let mut seen = HashSet::new();
    let mut ask = |claim: &NewClaim, price: &Result<Price, Unpriced>| {
        let price = (*price).ok()?;
        let name = (claim.request.account, claim.request.key.clone());
        seen.insert(name).then_some(price)
    };
    claims.iter().zip(priced).map(|(claim, price)| ask(claim, price)).collect()
}

/// What came of wanting a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It was free and is now held by the asker.
    Mine(Claim),
    /// There is a row already, or an order: read it.
    Taken,
    /// The key is free, but the basket has no price. Nothing was claimed.
    Unpriced(Unpriced),
}

/// A key that nobody holds any more.
#[derive(Debug, Clone)]
pub struct Overdue {
    /// The row.
    pub row: KeyRow,
    /// It was claimed so long ago that it is to be given up.
    pub give_up: bool,
}

/// The order a cancel left, and the outbox row if this was the first.
#[derive(Debug)]
pub struct Cancelled {
    /// The order, cancelled.
    pub order: Order,
    /// What must be told to the account service.
    pub notice: Option<Notice>,
}

/// An order after which a page of an account's orders begins, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// With its place in the list.
    Order {
        /// When it was placed.
        placed_at: OffsetDateTime,
        /// Tells it from others of the same instant.
        order_id: Uuid,
    },
    /// From a page token of the version before, which has the order's id alone. Goes with the next release.
    Id(Uuid),
}

/// Which orders of an account to list: whose, after which one (`None`: from the newest on), at most how many.
pub type OrdersPage = (AccountId, Option<Cursor>, usize);

/// How long leases last, and keys, by the database's clock.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// A worker's hold on a key (A15).
    pub key: Duration,
    /// A process's hold on an outbox row.
    pub notice: Duration,
    /// After this a key that could not be decided is given up.
    pub give_up: Duration,
    /// Keys after their first request.
    pub key_lifetime: KeyLifetime,
}

/// A breach of an invariant, with the rows that show it.
#[derive(Debug, Serialize)]
pub struct Breach {
    /// Its number in ARCHITECTURE.md, such as `I5`.
    pub invariant: &'static str,
    /// What is wrong, with the ids of the row.
    pub row: String,
}

/// One connection's worth of database.
pub trait Store: Sized + Send + 'static {
    /// The database it speaks to.
    type Backend: Backend;

    /// Whether `serve` brings the schema up to date by itself.
    const MIGRATES_AT_START: bool;

    /// How many connections can write at once without getting in each other's way.
    const WRITERS_MAX: usize;

    /// A store that connects when it is first used. `None` when the address is another backend's. Rows from before there
    /// were currencies have none, and are in the default.
    fn open(url: &DatabaseUrl, leases: Leases, default: Currency) -> Option<Self>;

    /// Notices when the database went back in time, and refuses work from then on.
    #[must_use]
    fn tracked(self, lineage: Lineage) -> Self;

    /// Reads the database's position and judges it against what this process has seen.
    fn look(
        &mut self,
    ) -> impl Future<Output = Result<Result<Position, Discontinuity>, StoreError>> + Send;

    /// Accepts that commits are gone. Answers the new epoch. `is_copy`: the database also gets another identity, because the
    /// one that it is a copy of goes on.
    fn resume(&mut self, is_copy: bool) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Reads the highest positions that were told of ledgers: of one, unless another was never forgotten.
    fn ledgers(&mut self) -> impl Future<Output = Result<Vec<Position>, StoreError>> + Send;

    /// Remembers how far a ledger has come.
    fn remember_ledger(
        &mut self,
        ledger: &Position,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets which ledger these orders are paid from, so that the next one that answers is taken.
    fn forget_ledger(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Brings the schema up to date.
    fn migrate(&mut self) -> impl Future<Output = Result<(), sqlx::migrate::MigrateError>> + Send;

    /// Looks whether the database can serve: it answers, takes writes, has the schema, and room for today's keys.
    fn examine(&mut self) -> impl Future<Output = Result<(), Unready>> + Send;

    /// T0: claims keys that are free, at the catalogue's prices of now. A key that placed an order never is.
    fn claim(
        &mut self,
        claims: &[NewClaim],
    ) -> impl Future<Output = Result<Vec<Claimed>, StoreError>> + Send;

    /// D: reads keys. One whose row was let go of is read from its order, if it placed one.
    fn keys(
        &mut self,
        keys: &[(AccountId, IdempotencyKey)],
    ) -> impl Future<Output = Result<Vec<Option<KeyRow>>, StoreError>> + Send;

    /// T1: takes keys over whose lease is over and whose fence is still the one seen. `None`: somebody else won.
    fn take_over(
        &mut self,
        seen: &[Claim],
    ) -> impl Future<Output = Result<Vec<Option<Claim>>, StoreError>> + Send;

    /// Changes order id and amount of undecided keys where the fence is still the claim's. Answers for which it was.
    fn amend(
        &mut self,
        claims: &[Claim],
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// T3, T3' and T4: decides keys whose fence is still the claim's.
    fn settle(
        &mut self,
        settlements: &[Settlement],
    ) -> impl Future<Output = Result<Vec<Settled>, StoreError>> + Send;

    /// T5: ends leases now, so that the next request need not wait.
    fn hand_back(
        &mut self,
        claims: &[Claim],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finds keys whose lease is over, longest first.
    fn overdue(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Overdue>, StoreError>> + Send;

    /// Leases outbox rows that are due, passing over rows that another process is leasing.
    fn lease_notices(
        &mut self,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Notice>, StoreError>> + Send;

    /// Deletes outbox rows that the account service answered.
    fn finish_notices(
        &mut self,
        notices: &[Notice],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps outbox rows that the account service refused, to be told again at growing intervals. Answers for each whether
    /// this refusal is new: the first, or for another reason than before.
    fn refuse_notices(
        &mut self,
        refused: &[RefusedNotice],
    ) -> impl Future<Output = Result<Vec<bool>, StoreError>> + Send;

    /// Counts what stands in the outbox. Cheap, however much that is.
    fn backlog(&mut self) -> impl Future<Output = Result<Backlog, StoreError>> + Send;

    /// Reads outbox rows, at most so many, in the order of their keys: those after a row.
    fn waiting(
        &mut self,
        after: Option<&Notice>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Waiting>, StoreError>> + Send;

    /// Reads outbox rows that are refused or older than this, the first hundred.
    fn stuck(
        &mut self,
        age_max: Duration,
    ) -> impl Future<Output = Result<Vec<Waiting>, StoreError>> + Send;

    /// Makes an order's outbox rows due now, and answers them.
    fn hasten(
        &mut self,
        account: AccountId,
        order_id: Uuid,
    ) -> impl Future<Output = Result<Vec<Waiting>, StoreError>> + Send;

    /// Deletes a refused outbox row and records that it was given up, and why.
    fn resolve(
        &mut self,
        account: AccountId,
        order_id: Uuid,
        action: Action,
        note: &str,
    ) -> impl Future<Output = Result<Resolved, StoreError>> + Send;

    /// Reads orders with their payments.
    fn orders(
        &mut self,
        ids: &[(AccountId, Uuid)],
    ) -> impl Future<Output = Result<Vec<Option<Order>>, StoreError>> + Send;

    /// Reads pages of accounts' orders, newest first by the database's clock.
    fn list_orders(
        &mut self,
        pages: &[OrdersPage],
    ) -> impl Future<Output = Result<Vec<Vec<Order>>, StoreError>> + Send;

    /// Cancels orders: stock back, payment refunded, outbox row. `None`: there is no such order.
    fn cancel(
        &mut self,
        orders: &[(AccountId, Uuid)],
    ) -> impl Future<Output = Result<Vec<Option<Cancelled>>, StoreError>> + Send;

    /// Creates or sets products.
    fn put_products(
        &mut self,
        products: &[Product],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads products.
    fn products(
        &mut self,
        ids: &[ProductId],
    ) -> impl Future<Output = Result<Vec<Option<Product>>, StoreError>> + Send;

    /// Reads pages of the catalogue: after a product, at most so many; in id order.
    fn list_products(
        &mut self,
        pages: &[(Option<ProductId>, usize)],
    ) -> impl Future<Output = Result<Vec<Vec<Product>>, StoreError>> + Send;

    /// Adjusts stock, each adjustment once.
    fn adjust_stock(
        &mut self,
        adjustments: &[Adjustment],
    ) -> impl Future<Output = Result<Vec<Adjusted>, StoreError>> + Send;

    /// Makes room for the keys of days to come.
    fn make_room(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many days after today have room for keys; negative when today has none, `None` where keys need no such room.
    fn days_ahead(&mut self) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// Lets go of keys whose lifetime is over, never of one still undecided. Answers how many partitions or rows went.
    fn keep_keys(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Checks the invariants that this database alone can show.
    fn verify(&mut self) -> impl Future<Output = Result<Vec<Breach>, StoreError>> + Send;
}
