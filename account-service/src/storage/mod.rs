//! Accounts and reservations in a database.
//!
//! [`Store`] has one method a transaction, and its methods take batches. It loads the rows that a batch names, lets
//! [`crate::ledger`] decide, and writes what the ledger answers; SQL moves no money. What the two databases say
//! differently is behind [`Tables`].
//!
//! How concurrent batches stay apart, here and in other processes:
//!
//! - A batch locks its account rows first, in id order, and holds them to its end. Whoever touches the same account
//!   waits; nobody deadlocks. Everything else about an account is read and written under that lock.
//! - An account that does not exist has no row to lock. Two batches that both write about it meet at a unique key:
//!   inserts are plain, so the later one fails, is rolled back and run again, and then sees the rows of the first.
//! - Time is the database's: the instant at which the transaction began.
//!
//! Bounds: a batch is bounded by its caller, the retries by [`Session`]. A call that fails wrote nothing, unless it
//! says [`StoreError::OutcomeUnknown`].

mod columns;
mod foresight;
mod postgres;
mod rows;
mod scan;
mod sqlite;
mod tables;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use database::{Discontinuity, Lineage, Needs, Position, Session, StoreError, Unready};
use proto::id::{AccountId, ReserveId};
use sqlx::migrate::MigrateError;
use time::OffsetDateTime;

pub use scan::Range;
pub use tables::Tables;

use foresight::Foresight;

use crate::ledger::{Account, Command, Entry, Outcome, Reservation};

/// What the service's role does with its tables. Rows are never deleted.
const PRIVILEGES: [(&str, &str); 19] = [
    ("accounts", "SELECT"),
    ("accounts", "INSERT"),
    ("accounts", "UPDATE"),
    ("reservations", "SELECT"),
    ("reservations", "INSERT"),
    ("reservations", "UPDATE"),
    ("deposits", "SELECT"),
    ("deposits", "INSERT"),
    ("refunds", "SELECT"),
    ("refunds", "INSERT"),
    ("entries", "SELECT"),
    ("entries", "INSERT"),
    ("database_identity", "SELECT"),
    ("database_identity", "UPDATE"),
    ("commit_counters", "SELECT"),
    ("commit_counters", "UPDATE"),
    ("partner_positions", "SELECT"),
    ("partner_positions", "INSERT"),
    ("partner_positions", "UPDATE"),
];

/// The ledger's tables, over one connection.
pub struct Store<B: Tables> {
    session: Session<B>,
    foresight: Foresight,
}

/// Which lines of a statement to read: newest first, those before a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Whose statement.
    pub account_id: AccountId,
    /// Only lines older than this one; `None` begins with the newest.
    pub before: Option<i64>,
    /// How many lines at most.
    pub limit: usize,
}

/// The ledger, introduced to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduced {
    /// Where the ledger stands.
    pub ledger: Position,
    /// The highest position of the caller's database that the ledger was ever told.
    pub caller_highest: Position,
    /// The ledger's time.
    pub now: OffsetDateTime,
}

impl<B: Tables> Store<B> {
    /// A store that connects when it is first used.
    pub fn new(options: B::Options) -> Self {
        Self { session: Session::new(B::by_key(options)), foresight: Foresight::default() }
    }

    /// Notices when the database went back in time, and refuses work from then on.
    #[must_use]
    pub fn tracked(self, lineage: Lineage) -> Self {
        Self { session: self.session.tracked(lineage), ..self }
    }

    /// Reads the ledger's position and judges it against what this process has seen.
    pub async fn look(&mut self) -> Result<Result<Position, Discontinuity>, StoreError> {
        self.session.position().await
    }

    /// Introduces the ledger to the database of a caller, and remembers how far that has come.
    pub async fn introduce(&mut self, caller: &Position) -> Result<Introduced, StoreError> {
        self.session.transact(&mut work::Introduce { caller }).await
    }

    /// Accepts that commits are gone. Answers the new epoch.
    /// `is_copy`: the database also gets another identity, because the one that it is a copy of goes on.
    pub async fn resume(&mut self, is_copy: bool) -> Result<i64, StoreError> {
        self.session.resume(is_copy).await
    }

    /// Runs commands, in order, in one transaction. Answers one outcome each.
    pub async fn apply(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, StoreError> {
        let expects_new = self.foresight.expects_new();
        let mut work = work::Apply { commands, expects_new, runs: 0 };
        let outcomes = self.session.transact(&mut work).await;

        // A batch of unknown outcome is asked about again, and then most of it is there.
        self.foresight.learn(outcomes.is_err() || work.runs > 1);
        outcomes
    }

    /// Expires holds whose time has come, `limit` at most, on accounts that nobody else works on right now. Answers
    /// how many they were.
    pub async fn expire(&mut self, limit: u32) -> Result<u64, StoreError> {
        self.session.transact(&mut work::Expire { limit }).await
    }

    /// Reads accounts, those that exist, as they stand: holds that are due count as expired.
    pub async fn accounts(
        &mut self,
        ids: &BTreeSet<AccountId>,
    ) -> Result<BTreeMap<AccountId, Account>, StoreError> {
        self.session.read(&mut work::Accounts { ids }).await
    }

    /// Reads reservations, those that exist, as they stand: a hold that is due counts as expired.
    pub async fn reservations(
        &mut self,
        keys: &BTreeSet<(AccountId, ReserveId)>,
    ) -> Result<BTreeMap<(AccountId, ReserveId), Reservation>, StoreError> {
        self.session.read(&mut work::Reservations { keys }).await
    }

    /// Reads pages of statements, one answer a page. `None`: there is no such account.
    pub async fn entries(&mut self, pages: &[Page]) -> Result<Vec<Option<Vec<Entry>>>, StoreError> {
        self.session.read(&mut work::Entries { pages }).await
    }

    /// Brings the schema up to date. Running it again changes nothing.
    pub async fn migrate(&mut self) -> Result<(), MigrateError> {
        self.session.migrate(B::migrator()).await
    }

    /// Whether the database can serve: it answers, takes writes, and its schema is at least as new as this build's.
    ///
    /// # Errors
    /// Why not.
    pub async fn examine(&mut self) -> Result<(), Unready> {
        let (program, migrator) = ("account-service", B::migrator());
        let needs = Needs { program, migrator, privileges: &PRIVILEGES };
        self.session.examine(&needs).await
    }
}
