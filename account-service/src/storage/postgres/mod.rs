//! The ledger's tables on PostgreSQL.
//!
//! Arrays go in through `unnest`, one statement a table. Rows are locked with FOR NO KEY UPDATE, READ COMMITTED: after
//! a wait the lock shows the row as its last holder left it, and each later statement sees all that was committed
//! before it began.

mod read;
mod write;

use std::collections::BTreeSet;

use database::Postgres;
use proto::{
    Money,
    id::{AccountId, ReserveId},
};
use sqlx::{PgConnection, migrate::Migrator};
use time::OffsetDateTime;

use super::{
    Page, Range,
    rows::{AccountRow, DepositRow, EntryRow, RefundRow, ReservationRow, values},
    scan,
    tables::{ExpiredHolds, Tables},
};
use crate::ledger::{Account, Book, Changes, Deposit, Entry, Named, Refund, Reservation};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

impl Tables for Postgres {
    const WRITERS_MAX: usize = usize::MAX;
    // Several pods start at once, and who may change the schema is a decision of operations.
    const MIGRATES_AT_START: bool = false;

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    async fn now(connection: &mut PgConnection) -> sqlx::Result<OffsetDateTime> {
        read::now(connection).await
    }

    async fn load(
        connection: &mut PgConnection,
        named: &Named<'_>,
    ) -> sqlx::Result<(Book, OffsetDateTime)> {
        let (accounts, now) = read::lock(connection, &named.accounts).await?;
        let reservations = read::named_reservations(connection, &named.reservations).await?;
        let deposits = read::named_deposits(connection, &named.deposits).await?;
        let refunds = read::named_refunds(connection, &named.refunds).await?;
        Ok((Book::load(accounts, reservations, deposits, refunds), now))
    }

    async fn write(connection: &mut PgConnection, changes: &Changes) -> sqlx::Result<()> {
        write::new_accounts(connection, &changes.accounts.new).await?;
        write::new_reservations(connection, &changes.reservations.new).await?;
        write::changed_reservations(connection, &changes.reservations.changed).await?;
        write::deposits(connection, &changes.deposits).await?;
        write::refunds(connection, &changes.refunds).await?;
        write::entries(connection, &changes.entries).await?;
        write::changed_accounts(connection, &changes.accounts.changed).await
    }

    async fn lock_due(
        connection: &mut PgConnection,
        limit: u32,
    ) -> sqlx::Result<(Vec<Account>, OffsetDateTime)> {
        read::lock_due(connection, limit).await
    }

    async fn expire_holds(
        connection: &mut PgConnection,
        accounts: &BTreeSet<AccountId>,
        now: OffsetDateTime,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<ExpiredHolds>> {
        write::expire_holds(connection, accounts, now, limit).await
    }

    async fn accounts(
        connection: &mut PgConnection,
        ids: &BTreeSet<AccountId>,
    ) -> sqlx::Result<Vec<(Account, Money)>> {
        read::accounts(connection, ids).await
    }

    async fn reservations(
        connection: &mut PgConnection,
        keys: &BTreeSet<(AccountId, ReserveId)>,
    ) -> sqlx::Result<(Vec<Reservation>, OffsetDateTime)> {
        let keys = keys.iter().map(|(account, reserve)| (*account, reserve)).collect();
        let rows = read::named_reservations(connection, &keys).await?;
        Ok((rows, read::now(connection).await?))
    }

    async fn page(connection: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Entry>> {
        read::page(connection, page).await
    }

    // Whole tables may take longer than the limit of a statement.
    const BEGIN_SNAPSHOT: &'static str =
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0";

    async fn accounts_after(
        connection: &mut PgConnection,
        after: i64,
        limit: u32,
    ) -> sqlx::Result<Vec<Account>> {
        let rows = sqlx::query_as::<_, AccountRow>(scan::ACCOUNTS).bind(after);
        values(rows.bind(i64::from(limit)).fetch_all(connection).await?)
    }

    async fn each_deposit(
        connection: &mut PgConnection,
        range: Range,
        take: impl FnMut(Deposit) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Postgres, DepositRow, _>(connection, scan::DEPOSITS, range, take).await
    }

    async fn each_reservation(
        connection: &mut PgConnection,
        range: Range,
        take: impl FnMut(Reservation) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Postgres, ReservationRow, _>(connection, scan::RESERVATIONS, range, take)
            .await
    }

    async fn each_refund(
        connection: &mut PgConnection,
        range: Range,
        take: impl FnMut(Refund) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Postgres, RefundRow, _>(connection, scan::REFUNDS, range, take).await
    }

    async fn each_entry(
        connection: &mut PgConnection,
        range: Range,
        take: impl FnMut(Entry) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Postgres, EntryRow, _>(connection, scan::ENTRIES, range, take).await
    }
}
