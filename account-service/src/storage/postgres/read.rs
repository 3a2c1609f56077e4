//! What is read, and locked while it is read.
//!
//! A statement is planned once for its connection, perhaps on an empty table, where the planner takes reading all of it for
//! as good as looking a row up. So nothing here leaves it the choice: rows are looked up key by key in lateral subqueries,
//! and `account_id + 0` keeps the primary key out where the index of due holds is meant.

use std::collections::BTreeSet;

use proto::{
    Money,
    id::{AccountId, DepositId, RefundId, ReserveId},
};
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use crate::{
    ledger::{Account, Deposit, Entry, Refund, Reservation},
    storage::{
        Page,
        columns::{Amount, Instant},
        rows::{AccountRow, DepositRow, EntryRow, RefundRow, ReservationRow, values},
    },
};

#[derive(FromRow)]
struct AtInstant {
    #[sqlx(flatten)]
    account: AccountRow,
    now: Instant,
}

#[derive(FromRow)]
struct WithDue {
    #[sqlx(flatten)]
    account: AccountRow,
    due: Amount,
}

pub(super) async fn now(connection: &mut PgConnection) -> sqlx::Result<OffsetDateTime> {
    sqlx::query_scalar("SELECT now()").fetch_one(connection).await
}

pub(super) async fn lock(
    connection: &mut PgConnection,
    ids: &BTreeSet<AccountId>,
) -> sqlx::Result<(Vec<Account>, OffsetDateTime)> {
    let rows = sqlx::query_as(
        "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at,
                now() AS now
         FROM accounts
         WHERE account_id = ANY($1)
         ORDER BY account_id
         FOR NO KEY UPDATE",
    )
    .bind(numbers(ids))
    .fetch_all(&mut *connection)
    .await?;
    at_instant(connection, rows).await
}

/// The due holds are found without a lock, so an account may turn out to have none left; that is no harm. SKIP LOCKED:
/// an account that is busy decides about its own due holds, and is swept another time.
///
/// An array is made once, before any account is read. Of IN the planner may make a join that reads all accounts.
pub(super) async fn lock_due(
    connection: &mut PgConnection,
    limit: u32,
) -> sqlx::Result<(Vec<Account>, OffsetDateTime)> {
    let rows = sqlx::query_as(
        "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at,
                now() AS now
         FROM accounts
         WHERE account_id = ANY(ARRAY(
             SELECT account_id FROM reservations
             WHERE state = 'HELD' AND expires_at <= now()
             ORDER BY expires_at
             LIMIT $1))
         ORDER BY account_id
         FOR NO KEY UPDATE SKIP LOCKED",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    at_instant(connection, rows).await
}

/// Due holds are few, because they are swept. They are read once for all accounts, and not at all where nothing is
/// reserved.
pub(super) async fn accounts(
    connection: &mut PgConnection,
    ids: &BTreeSet<AccountId>,
) -> sqlx::Result<Vec<(Account, Money)>> {
    let rows: Vec<WithDue> = sqlx::query_as(
        "WITH due AS MATERIALIZED (
             SELECT account_id, amount FROM reservations
             WHERE state = 'HELD' AND expires_at <= now() AND account_id + 0 = ANY($1)
         )
         SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at,
                CASE WHEN reserved > 0 THEN (
                    SELECT coalesce(sum(due.amount), 0) FROM due
                    WHERE due.account_id = a.account_id)
                ELSE 0 END AS due
         FROM accounts a
         WHERE account_id = ANY($1)",
    )
    .bind(numbers(ids))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok((row.account.try_into()?, row.due.0))).collect()
}

pub(super) async fn named_reservations(
    connection: &mut PgConnection,
    keys: &BTreeSet<(AccountId, &ReserveId)>,
) -> sqlx::Result<Vec<Reservation>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (accounts, ids): (Vec<_>, Vec<_>) =
        keys.iter().map(|(account, id)| (account.get(), id.as_str())).unzip();
    let rows: Vec<ReservationRow> = sqlx::query_as(
        "SELECT found.*
         FROM unnest($1::bigint[], $2::text[]) AS key (account_id, reserve_id)
         CROSS JOIN LATERAL (
             SELECT account_id, reserve_id, order_id, amount, captured, refunded, state, decline,
                 cause, created_at, expires_at
             FROM reservations AS one
             WHERE one.account_id = key.account_id AND one.reserve_id = key.reserve_id
             LIMIT 1) AS found",
    )
    .bind(accounts)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn named_deposits(
    connection: &mut PgConnection,
    keys: &BTreeSet<(AccountId, &DepositId)>,
) -> sqlx::Result<Vec<Deposit>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (accounts, ids): (Vec<_>, Vec<_>) =
        keys.iter().map(|(account, id)| (account.get(), id.as_str())).unzip();
    let rows: Vec<DepositRow> = sqlx::query_as(
        "SELECT found.*
         FROM unnest($1::bigint[], $2::text[]) AS key (account_id, deposit_id)
         CROSS JOIN LATERAL (
             SELECT account_id, deposit_id, amount, created_at
             FROM deposits AS one
             WHERE one.account_id = key.account_id AND one.deposit_id = key.deposit_id
             LIMIT 1) AS found",
    )
    .bind(accounts)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn named_refunds(
    connection: &mut PgConnection,
    keys: &BTreeSet<(AccountId, &ReserveId, &RefundId)>,
) -> sqlx::Result<Vec<Refund>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<_> = keys.iter().map(|(account, _, _)| account.get()).collect();
    let reserves: Vec<_> = keys.iter().map(|(_, reserve, _)| reserve.as_str()).collect();
    let refunds: Vec<_> = keys.iter().map(|(_, _, refund)| refund.as_str()).collect();
    let rows: Vec<RefundRow> = sqlx::query_as(
        "SELECT found.*
         FROM unnest($1::bigint[], $2::text[], $3::text[]) AS key (account_id, reserve_id, refund_id)
         CROSS JOIN LATERAL (
             SELECT account_id, reserve_id, refund_id, amount, created_at
             FROM refunds AS one
             WHERE one.account_id = key.account_id AND one.reserve_id = key.reserve_id
                 AND one.refund_id = key.refund_id
             LIMIT 1) AS found",
    )
    .bind(accounts)
    .bind(reserves)
    .bind(refunds)
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn page(connection: &mut PgConnection, page: &Page) -> sqlx::Result<Vec<Entry>> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT account_id, sequence, kind, amount, balance, reference, order_id, created_at
         FROM entries
         WHERE account_id = $1 AND sequence < $2
         ORDER BY sequence DESC
         LIMIT $3",
    )
    .bind(page.account_id.get())
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    values(rows)
}

/// Splits the instant off the rows; asks for it when there are none.
async fn at_instant(
    connection: &mut PgConnection,
    rows: Vec<AtInstant>,
) -> sqlx::Result<(Vec<Account>, OffsetDateTime)> {
    let instant = match rows.first() {
        Some(row) => row.now.0,
        None => now(connection).await?,
    };
    Ok((values(rows.into_iter().map(|row| row.account).collect())?, instant))
}

fn numbers(ids: &BTreeSet<AccountId>) -> Vec<i64> {
    ids.iter().map(|id| id.get()).collect()
}
