//! Orders, their keys and the catalogue in a database.
//!
//! A [`Store`] is one connection's worth of database, owned by one worker (see [`crate::desk`]). **One method is one
//! transaction**, and methods take batches. Each loads rows, lets [`crate::order`] decide, and writes what it answers; the
//! steps are in `work/`, once for both databases. What the two say differently is behind [`Tables`]. Leases use the
//! database's clock.

mod found;
mod layout;
mod lifetime;
mod order_state;
pub mod outbox;
mod postgres;
mod sqlite;
pub mod tables;
mod underway;
mod work;

use std::{sync::Arc, time::Duration};

use database::{DatabaseUrl, Lineage, Needs, Session, Unready};
use proto::{
    Currency,
    id::{AccountId, Actor},
};
use serde::Serialize;
use sqlx::migrate::MigrateError;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

pub use layout::{Layout, LeftInOrders, STEP};
pub use lifetime::KeyLifetime;
pub use tables::Tables;
pub use underway::Underway;

use crate::order::{
    Notice, Order,
    key::{Claim, KeyRow},
    request::{Request, Unpriced},
};

/// What the service's role does with its tables. To make and drop partitions it must own the key table besides.
const PRIVILEGES: [(&str, &str); 47] = [
    ("idempotency_keys", "SELECT"),
    ("idempotency_keys", "INSERT"),
    ("idempotency_keys", "UPDATE"),
    ("orders", "SELECT"),
    ("orders", "INSERT"),
    ("orders", "UPDATE"),
    ("orders", "DELETE"),
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
    ("claim_batches", "SELECT"),
    ("claim_batches", "INSERT"),
    ("claim_batches", "UPDATE"),
    ("claim_batches", "DELETE"),
    ("notice_batches", "SELECT"),
    ("notice_batches", "INSERT"),
    ("notice_batches", "UPDATE"),
    ("notice_batches", "DELETE"),
    ("refused_batches", "SELECT"),
    ("refused_batches", "INSERT"),
    ("refused_batches", "DELETE"),
    ("layout", "SELECT"),
    ("layout", "UPDATE"),
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
    ("workers", "SELECT"),
    ("workers", "INSERT"),
    ("workers", "UPDATE"),
    ("workers", "DELETE"),
];

/// What readiness says when a claim would fail.
const NO_ROOM: &str = "the key table has no partition for today: `order-service migrate` makes those of the next days";

/// One connection's worth of database.
pub struct Store<B: Tables> {
    session: Session<B>,
    /// How to connect for reading whole tables, once.
    survey: B::Options,
    leases: Leases,
    /// The process that holds what is claimed and leased here.
    worker: Option<Uuid>,
    /// What rows are in that name no currency.
    default: Currency,
    /// What the database's clock said, and when.
    clock: Option<(Instant, OffsetDateTime)>,
    /// Where claims went when this was last looked at.
    layout: Option<Layout>,
    /// What this process has begun and not ended.
    underway: Underway,
}

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

/// An order that is to be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCancel {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub order_id: Uuid,
    /// Who asks, as far as that is known. Written with the order, and no part of what is decided.
    pub by: Option<Actor>,
}

impl From<(AccountId, Uuid)> for NewCancel {
    fn from((account, order_id): (AccountId, Uuid)) -> Self {
        Self { account, order_id, by: None }
    }
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

/// Leases that were ended before their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Of how many processes.
    pub processes: usize,
    /// On keys.
    pub keys: u64,
    /// On outbox rows.
    pub notices: u64,
}

/// A breach of an invariant, with the rows that show it.
#[derive(Debug, Serialize)]
pub struct Breach {
    /// Its number in ARCHITECTURE.md, such as `I5`.
    pub invariant: &'static str,
    /// What is wrong, with the ids of the row.
    pub row: String,
}

impl<B: Tables> Store<B> {
    /// A store that connects when it is first used. `None` when the address is another backend's. Rows from before there
    /// were currencies have none, and are in the default.
    pub fn open(url: &DatabaseUrl, leases: Leases, default: Currency) -> Option<Self> {
        let survey = B::options(url)?;
        let session = Session::new(B::by_key(survey.clone()));
        let (clock, layout, underway) = Default::default();
        let worker = None;
        Some(Self { session, survey, leases, worker, default, clock, layout, underway })
    }

    /// Shares what is under way with other stores of this process.
    #[must_use]
    pub fn sharing(self, underway: Underway) -> Self {
        Self { underway, ..self }
    }

    /// Notices when the database went back in time, and refuses work from then on.
    #[must_use]
    pub fn tracked(self, lineage: Lineage) -> Self {
        Self { session: self.session.tracked(lineage), ..self }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When a step of it fails; those before it stay.
    pub async fn migrate(&mut self) -> Result<(), MigrateError> {
        self.session.migrate(B::migrator()).await?;
        B::after_migrating(&mut self.session, &self.survey, self.leases.key_lifetime).await
    }

    /// Looks whether the database can serve: it answers, takes writes, has the schema, and room for today's keys.
    ///
    /// # Errors
    /// Why not.
    pub async fn examine(&mut self) -> Result<(), Unready> {
        let (program, migrator) = ("order-service", B::migrator());
        let needs = Needs { program, migrator, privileges: &PRIVILEGES };
        self.session.examine(&needs).await?;

        match self.days_ahead().await {
            Ok(Some(..0)) => Err(Unready::Missing(NO_ROOM)),
            Ok(_) => Ok(()),
            Err(error) => Err(Unready::Away(error.reason())),
        }
    }
}
