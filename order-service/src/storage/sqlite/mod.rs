//! Orders in one SQLite file: for a single node, tests and the demo.
//!
//! There is one writer at a time in the whole file, whichever process it is in, so nothing needs a lock. Where orders
//! come in numbers, a batch goes in as JSON through `json_each`, one statement a table: each statement is a hop to sqlx's
//! thread, a row is not. Other batches are plain loops. Every commit is flushed to disk; batches share the flush.

mod catalog;
mod claim;
mod keys;
mod lifetimes;
mod orders;
mod outbox;
mod rows;
mod settle;
mod settlements;
mod verify;

use std::time::Duration;

use database::{
    DatabaseUrl, Discontinuity, Lineage, Needs, Position, Session, Sqlite, StoreError, Unready,
    lineage::partners::{ForgetPartners, ReadPartners, Remember},
};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey, ProductId},
};
use sqlx::{
    migrate::{MigrateError, Migrator},
    sqlite::SqliteConnectOptions,
};
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
    /// What rows are in that name no currency.
    default: Currency,
}

impl Store for SqliteStore {
    type Backend = Sqlite;

    const MIGRATES_AT_START: bool = true;
    const WRITERS_MAX: usize = 1;

    fn open(url: &DatabaseUrl, leases: Leases, default: Currency) -> Option<Self> {
        let DatabaseUrl::Sqlite(path) = url else { return None };
        let options = Sqlite::options(path);
        Some(Self { session: Session::new(options.clone()), survey: options, leases, default })
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
        self.session.migrate(&MIGRATIONS).await
    }

    async fn examine(&mut self) -> Result<(), Unready> {
        self.session.examine(&NEEDS).await
    }

    async fn claim(&mut self, claims: &[NewClaim]) -> Result<Vec<Claimed>, StoreError> {
        let (lease, default) = (self.leases.key, self.default);
        self.session.transact(&mut claim::ClaimKeys { claims, lease, default }).await
    }

    async fn keys(
        &mut self,
        keys: &[(AccountId, IdempotencyKey)],
    ) -> Result<Vec<Option<KeyRow>>, StoreError> {
        self.session.read(&mut keys::ReadKeys { keys, default: self.default }).await
    }

    async fn take_over(&mut self, seen: &[Claim]) -> Result<Vec<Option<Claim>>, StoreError> {
        self.session.transact(&mut keys::TakeOver { seen, lease: self.leases.key }).await
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
        self.session.transact(&mut keys::HandBack { claims }).await
    }

    async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        let (give_up, default) = (self.leases.give_up, self.default);
        self.session.read(&mut keys::ReadOverdue { limit, give_up, default }).await
    }

    async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = outbox::LeaseNotices { limit, lease: self.leases.notice };
        self.session.statement(&mut work).await
    }

    async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        self.session.transact(&mut outbox::FinishNotices { notices }).await
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
        let survey = Session::<Sqlite>::new(self.survey.clone());
        survey.patient(VERIFY_TIMEOUT).read(&mut settlements::ReadStuck { age_max }).await
    }

    async fn hasten(
        &mut self,
        account: AccountId,
        order_id: Uuid,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.session.transact(&mut settlements::Hasten { account, order_id }).await
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
        Ok(())
    }

    async fn days_ahead(&mut self) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn keep_keys(&mut self) -> Result<u64, StoreError> {
        let lifetime = self.leases.key_lifetime;
        let before = self.session.transact(&mut lifetimes::Promise { lifetime }).await?;
        let mut gone = 0;
        for _ in 0..PRUNE_ROUNDS {
            let pruned = self.session.statement(&mut keys::Prune { before }).await?;
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
