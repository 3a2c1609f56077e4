//! The steps on keys that are rows of orders (docs/decisions/0020-one-row-an-order.md).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use database::Backend;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use uuid::Uuid;

use crate::{
    order::{
        decision::Settlement,
        key::{Claim, Home, KeyRow, Outcome},
        request::Price,
    },
    storage::{Layout, NewClaim, Overdue, tables::Hold},
};

/// Claims that were taken over: by order, and fence before.
pub type TakenInOrders = HashMap<(Uuid, i32), Home>;

/// What a claim transaction began.
#[derive(Debug)]
pub struct Begun {
    /// Its row among the batches.
    pub batch: i64,
    /// The homes of the claims that went through, by their orders.
    pub homes: HashMap<Uuid, Home>,
}

/// T0 to T5 on rows of orders. An undecided one is listed in the batch that it names.
pub trait KeysInOrders: Backend {
    /// Claims keys at these prices where there is neither a row nor a refusal; none, unless this is the layout. They come in
    /// the order of their keys. Forgets batches that have `ended`.
    fn claim_in_orders(
        connection: &mut Self::Connection,
        claims: &[(&NewClaim, Price)],
        hold: Hold,
        layout: Layout,
        ended: &[i64],
    ) -> impl Future<Output = sqlx::Result<Begun>> + Send;

    /// Reads the rows of keys, those that there are: also of keys that were claimed among the keys and placed an order.
    fn keys_in_orders(
        connection: &mut Self::Connection,
        keys: &[&(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<KeyRow>>> + Send;

    /// Raises the fences of undecided keys that are as they were seen and whose leases are over.
    fn take_over_in_orders(
        connection: &mut Self::Connection,
        seen: &[&Claim],
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<TakenInOrders>> + Send;

    /// Changes order id and amount of undecided keys where the fence is still the claim's. Answers which those are, by
    /// their new order and the fence.
    fn amend_in_orders(
        connection: &mut Self::Connection,
        claims: &[&Claim],
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<HashSet<(Uuid, i32)>>> + Send;

    /// Moves undecided keys to a batch whose lease is over.
    fn hand_back_in_orders(
        connection: &mut Self::Connection,
        claims: &[&Claim],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads keys whose lease is over, longest first. Those claimed longer ago than `give_up` are to be given up. Forgets
    /// batches in which nothing is left to decide.
    fn overdue_in_orders(
        connection: &mut Self::Connection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Overdue>>> + Send;

    /// Writes the expected outcome wherever the fence holds and the key is undecided. Answers where, by order and fence.
    fn expect_in_orders(
        connection: &mut Self::Connection,
        settlements: &[&Settlement],
    ) -> impl Future<Output = sqlx::Result<HashSet<(Uuid, i32)>>> + Send;

    /// Rewrites keys whose outcome is not the one that was expected.
    fn correct_in_orders(
        connection: &mut Self::Connection,
        failed: &[(&Claim, &Outcome)],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Keeps refusals of this transaction for the lifetime of their keys. Their rows leave the orders after `stay`.
    fn keep_refusals(
        connection: &mut Self::Connection,
        refused: &[&Claim],
        stay: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Deletes rows of refusals that have stayed long enough, those of so many transactions. Answers how many rows went.
    fn let_refusals_leave(
        connection: &mut Self::Connection,
        limit: usize,
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;
}
