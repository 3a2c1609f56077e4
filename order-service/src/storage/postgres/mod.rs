//! Orders in PostgreSQL: every batch is a handful of statements over `UNNEST`ed arrays, whatever its size.

mod catalog;
mod claim;
mod indexes;
mod keys;
mod lifetimes;
#[cfg(feature = "failpoints")]
mod mutants;
mod orders;
mod outbox;
mod partitions;
mod rows;
mod settle;
mod settlements;
mod verify;

use std::time::Duration;

use database::{
    Backend, DatabaseUrl, Discontinuity, Lineage, Needs, PgOptions, Position, Postgres, Session,
    StoreError, Unready,
    lineage::partners::{ForgetPartners, ReadPartners, Remember},
};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey, ProductId},
};
use sqlx::migrate::{MigrateError, Migrator};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Breach, Cancelled, Claimed, Leases, NewClaim, OrdersPage, Overdue, Store, VERIFY_TIMEOUT,
    outbox::{Backlog, RefusedNotice, Resolved, Waiting},
};
use crate::order::{
    Action, Notice, Order,
    catalog::{Adjusted, Adjustment, Product},
    decision::{Earlier, Settled, Settlement},
    key::{Claim, KeyRow},
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// What readiness says when a claim would fail.
const NO_ROOM: &str = "the key table has no partition for today: `order-service migrate` makes those of the next days";

const NEEDS: Needs =
    Needs { program: "order-service", migrator: &MIGRATIONS, privileges: &super::PRIVILEGES };

/// One connection to the orders in PostgreSQL.
pub struct PostgresStore {
    session: Session<Postgres>,
    /// How to connect for reading whole tables, once.
    survey: PgOptions,
    leases: Leases,
    /// What rows are in that name no currency.
    default: Currency,
    /// What the database's clock said, and when; see [`claim::near_midnight`].
    clock: Option<(Instant, OffsetDateTime)>,
}

impl Store for PostgresStore {
    type Backend = Postgres;

    const MIGRATES_AT_START: bool = false;
    const WRITERS_MAX: usize = 64;

    fn open(url: &DatabaseUrl, leases: Leases, default: Currency) -> Option<Self> {
        let DatabaseUrl::Postgres(address) = url else { return None };
        let options = Postgres::options((**address).clone(), "order-service");
        let session = Session::new(Postgres::by_key(options.clone()));
        Some(Self { session, survey: options, leases, default, clock: None })
    }

    fn tracked(self, lineage: Lineage) -> Self {
        Self { session: self.session.tracked(lineage), ..self }
    }

    async fn look(&mut self) -> Result<Result<Position, Discontinuity>, StoreError> {
        self.session.position().await
    }

    async fn resume(&mut self, is_copy: bool) -> Result<i64, StoreError> {
        self.session.resume(is_copy).await
    }

    async fn ledgers(&mut self) -> Result<Vec<Position>, StoreError> {
        self.session.read(&mut ReadPartners).await
    }

    async fn remember_ledger(&mut self, partner: &Position) -> Result<(), StoreError> {
        self.session.transact(&mut Remember { partner }).await.map(drop)
    }

    async fn forget_ledger(&mut self) -> Result<(), StoreError> {
        self.session.transact(&mut ForgetPartners).await
    }

    async fn migrate(&mut self) -> Result<(), MigrateError> {
        self.session.migrate(&MIGRATIONS).await?;
        indexes::build(&self.survey).await?;
        let kept = async {
            self.make_room().await?;
            self.keep_keys().await
        };
        kept.await.map(drop).map_err(|error| MigrateError::Source(error.into()))
    }

    async fn examine(&mut self) -> Result<(), Unready> {
        self.session.examine(&NEEDS).await?;
        match self.days_ahead().await {
            Ok(Some(..0)) => Err(Unready::Missing(NO_ROOM)),
            Ok(_) => Ok(()),
            Err(error) => Err(Unready::Away(error.reason())),
        }
    }

    async fn claim(&mut self, claims: &[NewClaim]) -> Result<Vec<Claimed>, StoreError> {
        let serialise =
            self.clock.is_none_or(|(at, said)| claim::near_midnight(said + at.elapsed()));
        let (lease, default) = (self.leases.key, self.default);
        let mut work = claim::ClaimKeys { claims, lease, serialise, default };
        let claimed = if serialise {
            self.session.transact(&mut work).await?
        } else {
            self.session.statement(&mut work).await?
        };
        if let Some(now) = claimed.now {
            self.clock = Some((Instant::now(), now));
        }
        Ok(claimed.answers)
    }

    async fn keys(
        &mut self,
        keys: &[(AccountId, IdempotencyKey)],
    ) -> Result<Vec<Option<KeyRow>>, StoreError> {
        self.session.read(&mut keys::ReadKeys { keys, default: self.default }).await
    }

    async fn take_over(&mut self, seen: &[Claim]) -> Result<Vec<Option<Claim>>, StoreError> {
        let mut work = keys::TakeOver { seen, lease: self.leases.key };
        self.session.transact(&mut work).await
    }

    async fn amend(&mut self, claims: &[Claim]) -> Result<Vec<bool>, StoreError> {
        self.session.transact(&mut keys::Amend { claims }).await
    }

    async fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let (lease, default) = (self.leases.notice, self.default);
        let (again, earlier) = (false, Earlier::new());
        let mut work = settle::Settle { settlements, lease, default, again, earlier };
        self.session.transact(&mut work).await
    }

    async fn hand_back(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        self.session.statement(&mut keys::HandBack { claims }).await
    }

    async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        let (give_up, default) = (self.leases.give_up, self.default);
        self.session.read(&mut keys::ReadOverdue { limit, give_up, default }).await
    }

    async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = outbox::LeaseNotices { limit, lease: self.leases.notice };
        self.session.transact(&mut work).await
    }

    async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        self.session.statement(&mut outbox::FinishNotices { notices }).await
    }

    async fn refuse_notices(&mut self, refused: &[RefusedNotice]) -> Result<Vec<bool>, StoreError> {
        self.session.transact(&mut outbox::RefuseNotices { refused }).await
    }

    async fn backlog(&mut self) -> Result<Backlog, StoreError> {
        self.session.read(&mut settlements::ReadBacklog).await
    }

    async fn waiting(
        &mut self,
        after: Option<&Notice>,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.session.read(&mut settlements::ReadWaiting { after, limit }).await
    }

    async fn stuck(&mut self, age_max: Duration) -> Result<Vec<Waiting>, StoreError> {
        // It may have to read all of the outbox.
        let survey = Session::<Postgres>::new(self.survey.clone());
        survey.patient(VERIFY_TIMEOUT).transact(&mut settlements::ReadStuck { age_max }).await
    }

    async fn hasten(
        &mut self,
        account: AccountId,
        order_id: Uuid,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.session.statement(&mut settlements::Hasten { account, order_id }).await
    }

    async fn resolve(
        &mut self,
        account: AccountId,
        order_id: Uuid,
        action: Action,
        note: &str,
    ) -> Result<Resolved, StoreError> {
        let mut work = settlements::Resolve { account, order_id, action, note };
        self.session.transact(&mut work).await
    }

    async fn orders(
        &mut self,
        ids: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Order>>, StoreError> {
        self.session.read(&mut orders::ReadOrders { ids, default: self.default }).await
    }

    async fn list_orders(&mut self, pages: &[OrdersPage]) -> Result<Vec<Vec<Order>>, StoreError> {
        self.session.read(&mut orders::ListOrders { pages, default: self.default }).await
    }

    async fn cancel(
        &mut self,
        orders: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Cancelled>>, StoreError> {
        let (lease, default) = (self.leases.notice, self.default);
        let mut work = orders::Cancel { orders, lease, default };
        self.session.transact(&mut work).await
    }

    async fn put_products(&mut self, products: &[Product]) -> Result<(), StoreError> {
        self.session.transact(&mut catalog::PutProducts { products }).await
    }

    async fn products(&mut self, ids: &[ProductId]) -> Result<Vec<Option<Product>>, StoreError> {
        self.session.read(&mut catalog::ReadProducts { ids, default: self.default }).await
    }

    async fn list_products(
        &mut self,
        pages: &[(Option<ProductId>, usize)],
    ) -> Result<Vec<Vec<Product>>, StoreError> {
        self.session.read(&mut catalog::ListProducts { pages, default: self.default }).await
    }

    async fn adjust_stock(
        &mut self,
        adjustments: &[Adjustment],
    ) -> Result<Vec<Adjusted>, StoreError> {
        let mut work = catalog::AdjustStock { adjustments, default: self.default };
        self.session.transact(&mut work).await
    }

    async fn make_room(&mut self) -> Result<(), StoreError> {
        let lifetime = self.leases.key_lifetime;
        self.session.transact(&mut partitions::MakeRoom { lifetime }).await
    }

    async fn days_ahead(&mut self) -> Result<Option<i64>, StoreError> {
        self.session.read(&mut partitions::DaysAhead).await.map(Some)
    }

    async fn keep_keys(&mut self) -> Result<u64, StoreError> {
        let lifetime = self.leases.key_lifetime;
        self.session.transact(&mut partitions::DropOld { lifetime }).await
    }

    async fn verify(&mut self) -> Result<Vec<Breach>, StoreError> {
        // A connection of its own: it reads whole tables, for as long as that takes.
        let survey = Session::<Postgres>::new(self.survey.clone());
        survey.patient(VERIFY_TIMEOUT).transact(&mut verify::Verify).await
    }
}
