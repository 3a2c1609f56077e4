//! What the two databases say differently: loading, locking and writing the ledger's rows.

use std::collections::BTreeSet;

use database::Backend;
use proto::{
    Money,
    id::{AccountId, ReserveId},
};
use sqlx::migrate::Migrator;
use time::OffsetDateTime;

use super::{Page, Range};
use crate::ledger::{Account, Book, Changes, Deposit, Entry, Named, Refund, Reservation};

/// The ledger's tables on one kind of database. Every method is one step of a transaction that [`super::Store`] runs.
pub trait Tables: Backend {
    /// How many connections may write side by side.
    const WRITERS_MAX: usize;

    /// Whether a service that starts brings the schema up to date by itself.
    const MIGRATES_AT_START: bool;

    /// The schema's history.
    fn migrator() -> &'static Migrator;

    /// The database's time.
    fn now(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<OffsetDateTime>> + Send;

    /// Locks the named accounts, in id order, then loads all named rows. Also answers the transaction's instant.
    fn load(
        connection: &mut Self::Connection,
        named: &Named<'_>,
    ) -> impl Future<Output = sqlx::Result<(Book, OffsetDateTime)>> + Send;

    /// Writes changes: at most one statement for new and one for changed rows of each table.
    fn write(
        connection: &mut Self::Connection,
        changes: &Changes,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Locks accounts that have due holds and that nobody else has locked, as many as the `limit` oldest holds name.
    /// Also answers the transaction's instant.
    fn lock_due(
        connection: &mut Self::Connection,
        limit: u32,
    ) -> impl Future<Output = sqlx::Result<(Vec<Account>, OffsetDateTime)>> + Send;

    /// Marks the due holds of locked accounts as expired, `limit` of them at most (`None`: all), and answers what
    /// each account must be given back. The accounts themselves are not touched.
    fn expire_holds(
        connection: &mut Self::Connection,
        accounts: &BTreeSet<AccountId>,
        now: OffsetDateTime,
        limit: Option<u32>,
    ) -> impl Future<Output = sqlx::Result<Vec<ExpiredHolds>>> + Send;

    /// Reads accounts, each with the sum of its holds that are due.
    fn accounts(
        connection: &mut Self::Connection,
        ids: &BTreeSet<AccountId>,
    ) -> impl Future<Output = sqlx::Result<Vec<(Account, Money)>>> + Send;

    /// Reads reservations, and the database's time.
    fn reservations(
        connection: &mut Self::Connection,
        keys: &BTreeSet<(AccountId, ReserveId)>,
    ) -> impl Future<Output = sqlx::Result<(Vec<Reservation>, OffsetDateTime)>> + Send;

    /// Reads the lines of one page, newest first.
    fn page(
        connection: &mut Self::Connection,
        page: &Page,
    ) -> impl Future<Output = sqlx::Result<Vec<Entry>>> + Send;

    /// Begins to read everything as it is at one moment, without holding anybody up.
    const BEGIN_SNAPSHOT: &'static str;

    /// Reads accounts above an id, in order.
    fn accounts_after(
        connection: &mut Self::Connection,
        after: i64,
        limit: u32,
    ) -> impl Future<Output = sqlx::Result<Vec<Account>>> + Send;

    /// Passes on each deposit of a range of accounts.
    fn each_deposit(
        connection: &mut Self::Connection,
        range: Range,
        take: impl FnMut(Deposit) + Send,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Passes on each reservation of a range of accounts.
    fn each_reservation(
        connection: &mut Self::Connection,
        range: Range,
        take: impl FnMut(Reservation) + Send,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Passes on each refund of a range of accounts.
    fn each_refund(
        connection: &mut Self::Connection,
        range: Range,
        take: impl FnMut(Refund) + Send,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Passes on each line of the statements of a range of accounts, an account's oldest first.
    fn each_entry(
        connection: &mut Self::Connection,
        range: Range,
        take: impl FnMut(Entry) + Send,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}

/// Holds of one account that were marked as expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiredHolds {
    /// Whose.
    pub account_id: AccountId,
    /// How many.
    pub holds: u64,
    /// Their sum.
    pub amount: Money,
}
