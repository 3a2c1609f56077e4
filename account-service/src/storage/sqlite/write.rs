//! What is written: one statement a table, the rows as a JSON array of arrays.

use std::collections::{BTreeMap, BTreeSet};

use proto::{
    Money,
    id::{AccountId, Actor},
};
use serde_json::{Value, json};
use sqlx::SqliteConnection;
use time::OffsetDateTime;

use super::read::ids_json;
use crate::{
    ledger::{Account, Deposit, Entry, Refund, Reservation},
    storage::{
        columns::{Amount, damaged, kind_name, micros, state_names},
        rows::account_id,
        tables::ExpiredHolds,
    },
};

pub(super) async fn new_accounts(
    connection: &mut SqliteConnection,
    rows: &[Account],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO accounts
            (account_id, currency, opening_balance, balance, reserved, entries, created_at)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            value ->> 6
        FROM json_each(?1)";
    write(connection, sql, rows, |row| {
        json!([
            row.account_id,
            row.currency.code(),
            row.opening_balance.units(),
            row.balance.units(),
            row.reserved.units(),
            row.entries,
            micros(row.created_at),
        ])
    })
    .await
}

pub(super) async fn changed_accounts(
    connection: &mut SqliteConnection,
    rows: &[Account],
) -> sqlx::Result<()> {
    let sql = "UPDATE accounts
        SET balance = new.value ->> 1, reserved = new.value ->> 2, entries = new.value ->> 3
        FROM json_each(?1) AS new
        WHERE account_id = new.value ->> 0";
    write(connection, sql, rows, |row| {
        json!([row.account_id, row.balance.units(), row.reserved.units(), row.entries])
    })
    .await
}

pub(super) async fn new_reservations(
    connection: &mut SqliteConnection,
    rows: &[Reservation],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO reservations (account_id, reserve_id, order_id, amount, captured,
            refunded, state, decline, cause, created_at, expires_at)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10
        FROM json_each(?1)";
    write(connection, sql, rows, |row| {
        let (state, decline, cause) = state_names(row.state);
        json!([
            row.account_id,
            row.reserve_id,
            row.order_id,
            row.amount.units(),
            row.captured.units(),
            row.refunded.units(),
            state,
            decline,
            cause,
            micros(row.created_at),
            row.expires_at.map(micros),
        ])
    })
    .await
}

pub(super) async fn changed_reservations(
    connection: &mut SqliteConnection,
    rows: &[Reservation],
) -> sqlx::Result<()> {
    let sql = "UPDATE reservations
        SET captured = new.value ->> 2, refunded = new.value ->> 3, state = new.value ->> 4
        FROM json_each(?1) AS new
        WHERE account_id = new.value ->> 0 AND reserve_id = new.value ->> 1";
    write(connection, sql, rows, |row| {
        json!([
            row.account_id,
            row.reserve_id,
            row.captured.units(),
            row.refunded.units(),
            state_names(row.state).0,
        ])
    })
    .await
}

pub(super) async fn deposits(
    connection: &mut SqliteConnection,
    rows: &[Deposit],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO deposits (account_id, deposit_id, amount, created_at, deposited_by)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4
        FROM json_each(?1)";
    write(connection, sql, rows, |row| {
        json!([
            row.account_id,
            row.deposit_id,
            row.amount.units(),
            micros(row.created_at),
            row.by.as_ref().map(Actor::as_str),
        ])
    })
    .await
}

pub(super) async fn refunds(
    connection: &mut SqliteConnection,
    rows: &[Refund],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO refunds
            (account_id, reserve_id, refund_id, amount, created_at, refunded_by)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
        FROM json_each(?1)";
    write(connection, sql, rows, |row| {
        json!([
            row.account_id,
            row.reserve_id,
            row.refund_id,
            row.amount.units(),
            micros(row.created_at),
            row.by.as_ref().map(Actor::as_str),
        ])
    })
    .await
}

pub(super) async fn entries(connection: &mut SqliteConnection, rows: &[Entry]) -> sqlx::Result<()> {
    let sql = "INSERT INTO entries
            (account_id, sequence, kind, amount, balance, reference, order_id, created_at)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
            value ->> 6, value ->> 7
        FROM json_each(?1)";
    write(connection, sql, rows, |row| {
        json!([
            row.account_id,
            row.sequence,
            kind_name(row.kind),
            row.amount.units(),
            row.balance.units(),
            row.reference,
            row.order_id,
            micros(row.created_at),
        ])
    })
    .await
}

/// SQLite returns changed rows, not sums of them; the sums are made here, a row at a time.
pub(super) async fn expire_holds(
    connection: &mut SqliteConnection,
    accounts: &BTreeSet<AccountId>,
    now: OffsetDateTime,
    limit: Option<u32>,
) -> sqlx::Result<Vec<ExpiredHolds>> {
    let rows: Vec<(i64, Amount)> = sqlx::query_as(
        "UPDATE reservations SET state = 'EXPIRED'
         FROM (
             SELECT account_id, reserve_id FROM reservations
             WHERE state = 'HELD' AND expires_at <= ?2
                 AND account_id IN (SELECT value FROM json_each(?1))
             ORDER BY expires_at
             LIMIT ?3) AS due
         WHERE reservations.account_id = due.account_id
             AND reservations.reserve_id = due.reserve_id
         RETURNING account_id, amount",
    )
    .bind(ids_json(accounts))
    .bind(micros(now))
    // SQLite's word for no limit
    .bind(limit.map_or(-1, i64::from))
    .fetch_all(connection)
    .await?;
    let mut expired = BTreeMap::new();
    for (id, Amount(amount)) in rows {
        let account_id = account_id(id)?;
        let none = ExpiredHolds { account_id, holds: 0, amount: Money::ZERO };
        let sum = expired.entry(account_id).or_insert(none);
        sum.holds += 1;
        sum.amount = sum.amount.checked_add(amount).ok_or_else(|| {
            damaged(format!("the due holds of account {account_id} exceed any balance"))
        })?;
    }
    Ok(expired.into_values().collect())
}

/// Every row is written or the batch fails. Nobody else writes meanwhile, and money is worth the look.
async fn write<R>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[R],
    columns: impl Fn(&R) -> Value,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows_json = Value::Array(rows.iter().map(columns).collect()).to_string();
    let written = sqlx::query(sql).bind(rows_json).execute(connection).await?.rows_affected();
    if usize::try_from(written) == Ok(rows.len()) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
