//! What is read. Keys come in as a JSON array of arrays; CROSS JOIN makes SQLite go through the keys and look each up.

use std::collections::BTreeSet;

use proto::{
    Money,
    id::{AccountId, DepositId, RefundId, ReserveId},
};
use serde_json::{Value, json};
use sqlx::{FromRow, SqliteConnection};
use time::OffsetDateTime;

use crate::{
    ledger::{Account, Deposit, Entry, Refund, Reservation},
    storage::{
        Page,
        columns::{Amount, Instant, micros},
        rows::{AccountRow, DepositRow, EntryRow, RefundRow, ReservationRow, values},
    },
};

#[derive(FromRow)]
struct WithDue {
    #[sqlx(flatten)]
    account: AccountRow,
    due: Amount,
}

/// The clock of the machine that holds the file, to the millisecond.
pub(super) async fn now(connection: &mut SqliteConnection) -> sqlx::Result<OffsetDateTime> {
    let micros = "SELECT CAST(round(unixepoch('now', 'subsec') * 1000) AS INTEGER) * 1000";
    let Instant(now) = sqlx::query_scalar(micros).fetch_one(connection).await?;
    Ok(now)
}

pub(super) async fn named_accounts(
    connection: &mut SqliteConnection,
    ids: &BTreeSet<AccountId>,
) -> sqlx::Result<Vec<Account>> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at
         FROM json_each(?1) AS key CROSS JOIN accounts ON account_id = key.value",
    )
    .bind(ids_json(ids))
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn due_accounts(
    connection: &mut SqliteConnection,
    now: OffsetDateTime,
    limit: u32,
) -> sqlx::Result<Vec<Account>> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at
         FROM accounts
         WHERE account_id IN (
             SELECT account_id FROM reservations
             WHERE state = 'HELD' AND expires_at <= ?1
             ORDER BY expires_at
             LIMIT ?2)",
    )
    .bind(micros(now))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn accounts(
    connection: &mut SqliteConnection,
    ids: &BTreeSet<AccountId>,
    now: OffsetDateTime,
) -> sqlx::Result<Vec<(Account, Money)>> {
    let rows: Vec<WithDue> = sqlx::query_as(
        "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at,
                (SELECT coalesce(sum(r.amount), 0) FROM reservations r
                 WHERE r.account_id = a.account_id AND r.state = 'HELD'
                     AND r.expires_at <= ?2) AS due
         FROM json_each(?1) AS key CROSS JOIN accounts a ON a.account_id = key.value",
    )
    .bind(ids_json(ids))
    .bind(micros(now))
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(|row| Ok((row.account.try_into()?, row.due.0))).collect()
}

pub(super) async fn named_reservations(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<(AccountId, &ReserveId)>,
) -> sqlx::Result<Vec<Reservation>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ReservationRow> = sqlx::query_as(
        "SELECT account_id, reserve_id, order_id, amount, captured, refunded, state, decline,
                cause, created_at, expires_at
         FROM json_each(?1) AS key CROSS JOIN reservations
             ON account_id = key.value ->> 0 AND reserve_id = key.value ->> 1",
    )
    .bind(keys_json(keys.iter().map(|(account, id)| json!([account, id]))))
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn named_deposits(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<(AccountId, &DepositId)>,
) -> sqlx::Result<Vec<Deposit>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<DepositRow> = sqlx::query_as(
        "SELECT account_id, deposit_id, amount, created_at
         FROM json_each(?1) AS key CROSS JOIN deposits
             ON account_id = key.value ->> 0 AND deposit_id = key.value ->> 1",
    )
    .bind(keys_json(keys.iter().map(|(account, id)| json!([account, id]))))
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn named_refunds(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<(AccountId, &ReserveId, &RefundId)>,
) -> sqlx::Result<Vec<Refund>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<RefundRow> = sqlx::query_as(
        "SELECT account_id, reserve_id, refund_id, amount, created_at
         FROM json_each(?1) AS key CROSS JOIN refunds
             ON account_id = key.value ->> 0 AND reserve_id = key.value ->> 1
                 AND refund_id = key.value ->> 2",
    )
    .bind(keys_json(keys.iter().map(|(account, reserve, id)| json!([account, reserve, id]))))
    .fetch_all(connection)
    .await?;
    values(rows)
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    page: &Page,
) -> sqlx::Result<Vec<Entry>> {
    let rows: Vec<EntryRow> = sqlx::query_as(
        "SELECT account_id, sequence, kind, amount, balance, reference, order_id, created_at
         FROM entries
         WHERE account_id = ?1 AND sequence < ?2
         ORDER BY sequence DESC
         LIMIT ?3",
    )
    .bind(page.account_id.get())
    .bind(page.before.unwrap_or(i64::MAX))
    .bind(i64::try_from(page.limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    values(rows)
}

/// Account ids as a JSON array.
pub(super) fn ids_json(ids: &BTreeSet<AccountId>) -> String {
    keys_json(ids.iter().map(|id| json!(id)))
}

fn keys_json(keys: impl Iterator<Item = Value>) -> String {
    Value::Array(keys.collect()).to_string()
}
