//! Orders in one SQLite file: for a single node, tests and the demo.
//!
//! There is one writer at a time in the whole file, whichever process it is in, so nothing needs a lock. Where orders
//! come in numbers, a batch goes in as JSON through `json_each`, one statement a table: each statement is a hop to sqlx's
//! thread, a row is not. Other batches are plain loops. Every commit is flushed to disk; batches share the flush.

mod catalog;
mod claim;
mod keys;
mod orders;
mod outbox;
mod rows;
mod settle;
mod verify;

use std::collections::HashMap;

use database::{DatabaseUrl, Needs, Session, Sqlite, StoreError, Unready};
use proto::id::{AccountId, IdempotencyKey, ProductId};
use sqlx::{
    migrate::{MigrateError, Migrator},
    sqlite::SqliteConnectOptions,
};
use uuid::Uuid;

use super::{Breach, Cancelled, Claimed, Leases, NewClaim, Overdue, Store, VERIFY_TIMEOUT};
use crate::order::{
    Notice, Order,
    catalog::{Adjusted, Adjustment, Product},
    decision::{Earlier, Settled, Settlement},
    key::{Claim, KeyRow},
};

/// Chunks of old keys that are let go of at a time: together more than a minute of orders can make.
const PRUNE_ROUNDS: u32 = 1_000;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const NEEDS: Needs = Needs { program: "order-service", migrator: &MIGRATIONS, privileges: &[] };

/// One connection to the orders in a SQLite file.
pub struct SqliteStore {
    session: Session<Sqlite>,
    /// How to connect for reading whole tables.
    survey: SqliteConnectOptions,
    leases: Leases,
}

impl Store for SqliteStore {
    type Backend = Sqlite;

    const MIGRATES_AT_START: bool = true;
    const WRITERS_MAX: usize = 1;

    fn open(url: &DatabaseUrl, leases: Leases) -> Option<Self> {
        let DatabaseUrl::Sqlite(path) = url else { return None };
        let options = Sqlite::options(path);
        Some(Self { session: Session::new(options.clone()), survey: options, leases })
    }

    async fn migrate(&mut self) -> Result<(), MigrateError> {
        self.session.migrate(&MIGRATIONS).await
    }

    async fn examine(&mut self) -> Result<(), Unready> {
        self.session.examine(&NEEDS).await
    }

    async fn claim(&mut self, claims: &[NewClaim]) -> Result<Vec<Claimed>, StoreError> {
        self.session.transact(&mut claim::ClaimKeys { claims, lease: self.leases.key }).await
    }

    async fn keys(
        &mut self,
        keys: &[(AccountId, IdempotencyKey)],
    ) -> Result<Vec<Option<KeyRow>>, StoreError> {
        self.session.read(&mut keys::ReadKeys { keys }).await
    }

    async fn take_over(&mut self, seen: &[Claim]) -> Result<Vec<Option<Claim>>, StoreError> {
        self.session.transact(&mut keys::TakeOver { seen, lease: self.leases.key }).await
    }

    async fn settle(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let lease = self.leases.notice;
        let mut work = settle::Settle { settlements, lease, again: false, earlier: Earlier::new() };
        self.session.transact(&mut work).await
    }

    async fn hand_back(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        self.session.transact(&mut keys::HandBack { claims }).await
    }

    async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        self.session.read(&mut keys::ReadOverdue { limit, give_up: self.leases.give_up }).await
    }

    async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = outbox::LeaseNotices { limit, lease: self.leases.notice };
        self.session.statement(&mut work).await
    }

    async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        self.session.transact(&mut outbox::FinishNotices { notices }).await
    }

    async fn orders(
        &mut self,
        ids: &[(AccountId, Uuid)],
    ) -> Result<Vec<Option<Order>>, StoreError> {
        self.session.read(&mut orders::ReadOrders { ids }).await
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
        let mut found: HashMap<_, _> =
            self.session.read(&mut catalog::ReadProducts { ids }).await?;
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
        Ok(())
    }

    async fn days_ahead(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn keep_keys(&mut self) -> Result<u64, StoreError> {
        let mut gone = 0;
        for _ in 0..PRUNE_ROUNDS {
            let pruned = self.session.statement(&mut keys::Prune).await?;
            gone += pruned;
            if pruned < keys::PRUNE_AT_ONCE.unsigned_abs() {
                break;
            }
        }
        Ok(gone)
    }

    async fn verify(&mut self) -> Result<Vec<Breach>, StoreError> {
        let survey = Session::<Sqlite>::new(self.survey.clone());
        survey.patient(VERIFY_TIMEOUT).read(&mut verify::Verify).await
    }
}
