//! The steps on keys: claimed, read, taken over, handed back, decided.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use database::Backend;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey, ProductId},
};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    order::{
        Order,
        decision::{Settlement, Stock},
        key::{Claim, KeyRow, Outcome},
        request::Price,
    },
    storage::{Layout, NewClaim, Overdue, tables::Hold},
};

/// Keys that were claimed.
#[derive(Debug, Default)]
pub struct Inserted {
    /// The days of their rows, by the orders that got them.
    pub days: HashMap<Uuid, Date>,
    /// The database's clock, when a row said it.
    pub now: Option<OffsetDateTime>,
}

/// Claims whose fences hold, at this time by the database's clock.
#[derive(Debug)]
pub struct Fenced {
    /// By order and fence.
    pub held: HashSet<(Uuid, i32)>,
    /// When they are decided.
    pub at: OffsetDateTime,
}

/// A claim that was taken over, as it was before: its order, day and fence.
pub type Taken = (Uuid, Date, i32);

/// T0.
pub trait Claiming: Backend {
    /// Whether claims that are made now must lock their keys first. `now`: the database's clock, where it is known.
    fn must_lock_keys(now: Option<OffsetDateTime>) -> bool;

    /// Keeps other claims of these keys, also those of another day, away until the transaction ends.
    fn lock_keys(
        connection: &mut Self::Connection,
        claims: &[(&NewClaim, Price)],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads what products cost now.
    fn prices(
        connection: &mut Self::Connection,
        products: &BTreeSet<ProductId>,
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<HashMap<ProductId, Price>>> + Send;

    /// Claims keys at these prices where there is neither a row nor an order; none, unless this is the layout. They come in the
    /// order of their keys.
    fn insert_claims(
        connection: &mut Self::Connection,
        claims: &[(&NewClaim, Price)],
        hold: Hold,
        layout: Layout,
    ) -> impl Future<Output = sqlx::Result<Inserted>> + Send;

    /// Takes claims back that were just made, in a process without [`failpoint::Safeguard::ClaimCommit`].
    #[cfg(feature = "failpoints")]
    fn uncommit(
        connection: &mut Self::Connection,
        orders: Vec<Uuid>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// D, T1 and T5.
pub trait Keys: Backend {
    /// Reads the rows of keys, those that there are.
    fn key_rows(
        connection: &mut Self::Connection,
        keys: &[(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<KeyRow>>> + Send;

    /// Raises the fences of undecided keys that are as they were seen and whose leases are over. Answers which those are.
    fn take_over(
        connection: &mut Self::Connection,
        seen: &[&Claim],
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<HashSet<Taken>>> + Send;

    /// Changes order id and amount of undecided keys where the fence is still the claim's. Answers which those are, by
    /// their new order and the fence.
    fn amend(
        connection: &mut Self::Connection,
        claims: &[&Claim],
    ) -> impl Future<Output = sqlx::Result<HashSet<(Uuid, i32)>>> + Send;

    /// Ends leases now.
    fn hand_back(
        connection: &mut Self::Connection,
        claims: &[&Claim],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads keys whose lease is over, longest first. Those claimed longer ago than `give_up` are to be given up.
    fn overdue(
        connection: &mut Self::Connection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Overdue>>> + Send;
}

/// T3, T3' and T4.
pub trait Deciding: Backend {
    /// Writes the expected outcome wherever the fence holds and the key is undecided. `None`: nowhere.
    fn write_expected(
        connection: &mut Self::Connection,
        settlements: &[&Settlement],
    ) -> impl Future<Output = sqlx::Result<Option<Fenced>>> + Send;

    /// Locks products, in product order, and reads how many pieces of each there are.
    fn lock_stock(
        connection: &mut Self::Connection,
        products: &BTreeSet<ProductId>,
    ) -> impl Future<Output = sqlx::Result<Stock>> + Send;

    /// Writes how many pieces are left.
    fn write_stock(
        connection: &mut Self::Connection,
        stock: &Stock,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Rewrites keys whose outcome is not the one that was expected.
    fn correct(
        connection: &mut Self::Connection,
        failed: &[(&Claim, &Outcome)],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Makes a key row what it was when it placed its order, from the order.
    fn restore(
        connection: &mut Self::Connection,
        claim: &Claim,
        order: &Order,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}
