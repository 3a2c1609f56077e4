//! Orders in PostgreSQL: every batch is a handful of statements over `UNNEST`ed arrays, whatever its size.

mod catalog;
mod claim;
mod keys;
#[cfg(feature = "failpoints")]
mod mutants;
mod orders;
mod outbox;
mod partitions;
mod rows;
mod settle;
mod verify;

use std::collections::HashMap;

use database::{Backend, DatabaseUrl, Needs, PgOptions, Postgres, Session, StoreError, Unready};
use proto::id::{AccountId, IdempotencyKey, ProductId};
use sqlx::migrate::{MigrateError, Migrator};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Breach, Cancelled, Claimed, Leases, NewClaim, Overdue, Store, VERIFY_TIMEOUT};
use crate::order::{
    Notice, Order,
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
    /// How to connect for reading whole tables.
    survey: PgOptions,
    leases: Leases,
    /// What the database's clock said, and when; see [`claim::near_midnight`].
    clock: Option<(Instant, OffsetDateTime)>,
}

impl Store for PostgresStore {
    type Backend = Postgres;

    const MIGRATES_AT_START: bool = false;
    const WRITERS_MAX: usize = 64;

    fn open(url: &DatabaseUrl, leases: Leases) -> Option<Self> {
        let DatabaseUrl::Postgres(address) = url else { return None };
        let options = Postgres::options((**address).clone(), "order-service");
        let session = Session::new(Postgres::by_key(options.clone()));
        Some(Self { session, survey: options, leases, clock: None })
    }

    async fn migrate(&mut self) -> Result<(), MigrateError> {
        self.session.migrate(&MIGRATIONS).await?;
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
        let mut work = claim::ClaimKeys { claims, lease: self.leases.key, serialise };
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
        let mut found = self.session.read(&mut keys::ReadKeys { keys }).await?;
        Ok(keys.iter().map(|key| found.remove(key)).collect())
    }

    async fn take_over(&mut self, seen: &[Claim]) -> Result<Vec<Option<Claim>>, StoreError> {
        let mut work = keys::TakeOver { seen, lease: self.leases.key };
        let fences: HashMap<Uuid, i32> = self.session.transact(&mut work).await?;
        let taken = |claim: &Claim| {
            fences.get(&claim.order_id).map(|fence| Claim { fence: *fence, ..claim.clone() })
        };
        Ok(seen.iter().map(taken).collect())
    }

    async fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let lease = self.leases.notice;
        let mut work = settle::Settle { settlements, lease, again: false, earlier: Earlier::new() };
        self.session.transact(&mut work).await
    }

    async fn hand_back(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        self.session.statement(&mut keys::HandBack { claims }).await
    }

    async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        self.session.read(&mut keys::ReadOverdue { limit, give_up: self.leases.give_up }).await
    }

    async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = outbox::LeaseNotices { limit, lease: self.leases.notice };
        self.session.transact(&mut work).await
    }

    async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        self.session.statement(&mut outbox::FinishNotices { notices }).await
    }

    async fn orders(
        &mut self,
        ids: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Order>>, StoreError> {
        let mut found = self.session.read(&mut orders::ReadOrders { ids }).await?;
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }

    async fn list_orders(
        &mut self,
        pages: &[(AccountId, Option<Uuid>, usize)],
    ) -> Result<Vec<Vec<Order>>, StoreError> {
        self.session.read(&mut orders::ListOrders { pages }).await
    }

    async fn cancel(
        &mut self,
        orders: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Cancelled>>, StoreError> {
        let mut work = orders::Cancel { orders, lease: self.leases.notice };
        self.session.transact(&mut work).await
    }

    async fn put_products(&mut self, products: &[Product]) -> Result<(), StoreError> {
        self.session.transact(&mut catalog::PutProducts { products }).await
    }

    async fn products(&mut self, ids: &[ProductId]) -> Result<Vec<Option<Product>>, StoreError> {
        let mut found = self.session.read(&mut catalog::ReadProducts { ids }).await?;
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }

    async fn list_products(
        &mut self,
        pages: &[(Option<ProductId>, usize)],
    ) -> Result<Vec<Vec<Product>>, StoreError> {
        self.session.read(&mut catalog::ListProducts { pages }).await
    }

    async fn adjust_stock(
        &mut self,
        adjustments: &[Adjustment],
    ) -> Result<Vec<Adjusted>, StoreError> {
        self.session.transact(&mut catalog::AdjustStock { adjustments }).await
    }

    async fn make_room(&mut self) -> Result<(), StoreError> {
        self.session.transact(&mut partitions::MakeRoom).await
    }

    async fn days_ahead(&mut self) -> Result<Option<i64>, StoreError> {
        self.session.read(&mut partitions::DaysAhead).await.map(Some)
    }

    async fn keep_keys(&mut self) -> Result<u64, StoreError> {
        self.session.transact(&mut partitions::DropOld).await
    }

    async fn verify(&mut self) -> Result<Vec<Breach>, StoreError> {
        // A connection of its own: it reads whole tables, for as long as that takes.
        let survey = Session::<Postgres>::new(self.survey.clone());
        survey.patient(VERIFY_TIMEOUT).transact(&mut verify::Verify).await
    }
}
