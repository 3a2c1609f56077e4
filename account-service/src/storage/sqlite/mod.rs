//! The ledger's tables on SQLite.
//!
//! A transaction that writes has the whole file to itself (BEGIN IMMEDIATE), so there are no row locks. Batches go in
//! as JSON through `json_each`, one statement a table: each statement is a hop to sqlx's thread, a row is not.

mod read;
mod write;

use std::collections::BTreeSet;

use database::Sqlite;
use proto::{
    Money,
    id::{AccountId, ReserveId},
};
use sqlx::{SqliteConnection, migrate::Migrator};
use time::OffsetDateTime;

use super::{
    Page, Range,
    rows::{AccountRow, DepositRow, EntryRow, RefundRow, ReservationRow, values},
    scan,
    tables::{ExpiredHolds, Tables},
};
use crate::ledger::{Account, Book, Changes, Deposit, Entry, Named, Refund, Reservation};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

impl Tables for Sqlite {
    // The file has one writer at a time. A second connection would only wait for the first.
    const WRITERS_MAX: usize = 1;
    const MIGRATES_AT_START: bool = true;

    fn migrator() -> &'static Migrator {
        &MIGRATOR
    }

    async fn now(connection: &mut SqliteConnection) -> sqlx::Result<OffsetDateTime> {
        read::now(connection).await
    }

    async fn load(
        connection: &mut SqliteConnection,
        named: &Named<'_>,
    ) -> sqlx::Result<(Book, OffsetDateTime)> {
        let now = read::now(connection).await?;
        let accounts = read::named_accounts(connection, &named.accounts).await?;
        let reservations = read::named_reservations(connection, &named.reservations).await?;
        let deposits = read::named_deposits(connection, &named.deposits).await?;
        let refunds = read::named_refunds(connection, &named.refunds).await?;
        Ok((Book::load(accounts, reservations, deposits, refunds), now))
    }

    async fn write(connection: &mut SqliteConnection, changes: &Changes) -> sqlx::Result<()> {
        write::new_accounts(connection, &changes.accounts.new).await?;
        write::new_reservations(connection, &changes.reservations.new).await?;
        write::changed_reservations(connection, &changes.reservations.changed).await?;
        write::deposits(connection, &changes.deposits).await?;
        write::refunds(connection, &changes.refunds).await?;
        write::entries(connection, &changes.entries).await?;
        write::changed_accounts(connection, &changes.accounts.changed).await
    }

    async fn lock_due(
        connection: &mut SqliteConnection,
        limit: u32,
    ) -> sqlx::Result<(Vec<Account>, OffsetDateTime)> {
        let now = read::now(connection).await?;
        Ok((read::due_accounts(connection, now, limit).await?, now))
    }

    async fn expire_holds(
        connection: &mut SqliteConnection,
        accounts: &BTreeSet<AccountId>,
        now: OffsetDateTime,
        limit: Option<u32>,
    ) -> sqlx::Result<Vec<ExpiredHolds>> {
        write::expire_holds(connection, accounts, now, limit).await
    }

    async fn accounts(
        connection: &mut SqliteConnection,
        ids: &BTreeSet<AccountId>,
    ) -> sqlx::Result<Vec<(Account, Money)>> {
        let now = read::now(connection).await?;
        read::accounts(connection, ids, now).await
    }

    async fn reservations(
        connection: &mut SqliteConnection,
        keys: &BTreeSet<(AccountId, ReserveId)>,
    ) -> sqlx::Result<(Vec<Reservation>, OffsetDateTime)> {
        let keys = keys.iter().map(|(account, reserve)| (*account, reserve)).collect();
        let rows = read::named_reservations(connection, &keys).await?;
        Ok((rows, read::now(connection).await?))
    }

    async fn page(connection: &mut SqliteConnection, page: &Page) -> sqlx::Result<Vec<Entry>> {
        read::page(connection, page).await
    }

    const BEGIN_SNAPSHOT: &'static str = "BEGIN DEFERRED";

    async fn accounts_after(
        connection: &mut SqliteConnection,
        after: i64,
        limit: u32,
    ) -> sqlx::Result<Vec<Account>> {
        let rows = sqlx::query_as::<_, AccountRow>(scan::ACCOUNTS).bind(after);
        values(rows.bind(i64::from(limit)).fetch_all(connection).await?)
    }

    async fn each_deposit(
        connection: &mut SqliteConnection,
        range: Range,
        take: impl FnMut(Deposit) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Sqlite, DepositRow, _>(connection, scan::DEPOSITS, range, take).await
    }

    async fn each_reservation(
        connection: &mut SqliteConnection,
        range: Range,
        take: impl FnMut(Reservation) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Sqlite, ReservationRow, _>(connection, scan::RESERVATIONS, range, take)
            .await
    }

    async fn each_refund(
        connection: &mut SqliteConnection,
        range: Range,
        take: impl FnMut(Refund) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Sqlite, RefundRow, _>(connection, scan::REFUNDS, range, take).await
    }

    async fn each_entry(
        connection: &mut SqliteConnection,
        range: Range,
        take: impl FnMut(Entry) + Send,
    ) -> sqlx::Result<()> {
        scan::each::<sqlx::Sqlite, EntryRow, _>(connection, scan::ENTRIES, range, take).await
    }
}
