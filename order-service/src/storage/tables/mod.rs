//! What the two databases say differently: one trait per subject, each method one step of a transaction that
//! [`super::Store`] runs. Steps decide nothing.

mod in_orders;
mod keys;
mod layout;
mod notice_batches;
mod orders;
mod outbox;
mod workers;

use std::time::Duration;

use database::{Backend, DatabaseUrl, Session, StoreError};
use sqlx::migrate::{MigrateError, Migrator};

pub use in_orders::{Begun, KeysInOrders, TakenInOrders};
pub use keys::{Claiming, Deciding, Fenced, Inserted, Keys, Taken};
pub use layout::Layouts;
pub use notice_batches::NoticeBatches;
pub use orders::{Catalogue, Orders};
pub use outbox::{NoticeName, Outbox, Settlements};
pub use workers::{Hold, Silence, Silent, Workers};

use super::{KeyLifetime, outbox::Waiting};

/// The orders' tables on one kind of database.
pub trait Tables:
    Claiming
    + Keys
    + KeysInOrders
    + Layouts
    + Deciding
    + Orders
    + Catalogue
    + Outbox
    + NoticeBatches
    + Settlements
    + Workers
    + Upkeep
{
    /// Whether `serve` brings the schema up to date by itself.
    const MIGRATES_AT_START: bool;

    /// How many connections can write at once without getting in each other's way.
    const WRITERS_MAX: usize;

    /// Whether a batch is one statement, however many rows it names, and so may commit by itself.
    const BATCH_IS_A_STATEMENT: bool;

    /// Begins to read whole tables as they are at one moment, for as long as that takes, and holds nobody up.
    const BEGIN_SNAPSHOT: &'static str;

    /// The invariants, each with its number and a query that finds no `row` in a sound database.
    const CHECKS: &'static [(&'static str, &'static str)];

    /// The schema's history.
    fn migrator() -> &'static Migrator;

    /// How to connect for reading whole tables. `None` when the address is another backend's.
    fn options(url: &DatabaseUrl) -> Option<Self::Options>;

    /// Reads the texts that a query of [`Tables::CHECKS`] finds.
    fn check(
        connection: &mut Self::Connection,
        query: &'static str,
    ) -> impl Future<Output = sqlx::Result<Vec<String>>> + Send;

    /// Reads outbox rows that are refused or older than this, so many at most.
    fn stuck(
        connection: &mut Self::Connection,
        age_max: Duration,
        limit: usize,
    ) -> impl Future<Output = sqlx::Result<Vec<Waiting>>> + Send;
}

/// Room for new keys, and old ones let go of. Each database does it in transactions of its own.
pub trait Upkeep: Backend + Sized {
    /// Does what a migration cannot do, after it: what would lock a table that is in use.
    fn after_migrating(
        session: &mut Session<Self>,
        options: &Self::Options,
        lifetime: KeyLifetime,
    ) -> impl Future<Output = Result<(), MigrateError>> + Send;

    /// Makes room for the keys of days to come.
    fn make_room(
        session: &mut Session<Self>,
        lifetime: KeyLifetime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many days after today have room for keys; negative when today has none, `None` where keys need no such room.
    fn days_ahead(
        session: &mut Session<Self>,
    ) -> impl Future<Output = Result<Option<i64>, StoreError>> + Send;

    /// Lets go of keys whose lifetime is over, never of one still undecided. Answers how many partitions or rows went.
    fn keep_keys(
        session: &mut Session<Self>,
        lifetime: KeyLifetime,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
