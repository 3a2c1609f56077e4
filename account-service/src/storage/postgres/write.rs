//! What is written: one statement a table, whatever the size of the batch.
//!
//! Inserts are plain. The unique violation of a row that another transaction inserted first is what makes the batch
//! roll back and run again.
//!
//! An UPDATE is joined on an array of one account: an index can look it up, and no plan can read the whole table in the
//! order of its key to meet it, which on an empty table looks as cheap and stays the plan of its connection.

use std::collections::BTreeSet;

use proto::id::{AccountId, Actor, OrderRef};
use sqlx::{PgConnection, postgres::PgQueryResult};
use time::OffsetDateTime;

use crate::{
    ledger::{Account, Deposit, Entry, Refund, Reservation},
    storage::{
        columns::{Amount, damaged, kind_name, state_names},
        rows::account_id,
        tables::ExpiredHolds,
    },
};

pub(super) async fn new_accounts(
    connection: &mut PgConnection,
    rows: &[Account],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "INSERT INTO accounts
             (account_id, currency, opening_balance, balance, reserved, entries, created_at)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::numeric[], $4::numeric[],
             $5::numeric[], $6::bigint[], $7::timestamptz[])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.currency.code()))
    .bind(column(rows, |row| row.opening_balance.decimal()))
    .bind(column(rows, |row| row.balance.decimal()))
    .bind(column(rows, |row| row.reserved.decimal()))
    .bind(column(rows, |row| row.entries))
    .bind(column(rows, |row| row.created_at))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn changed_accounts(
    connection: &mut PgConnection,
    rows: &[Account],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "UPDATE accounts
         SET balance = new.balance, reserved = new.reserved, entries = new.entries
         FROM unnest($1::bigint[], $2::numeric[], $3::numeric[], $4::bigint[])
             AS new (account_id, balance, reserved, entries)
         WHERE accounts.account_id = ANY(ARRAY[new.account_id])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.balance.decimal()))
    .bind(column(rows, |row| row.reserved.decimal()))
    .bind(column(rows, |row| row.entries))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn new_reservations(
    connection: &mut PgConnection,
    rows: &[Reservation],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "INSERT INTO reservations (account_id, reserve_id, order_id, amount, captured, refunded,
             state, decline, cause, created_at, expires_at)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::numeric[],
             $6::numeric[], $7::text[], $8::text[], $9::text[], $10::timestamptz[],
             $11::timestamptz[])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.reserve_id.as_str()))
    .bind(column(rows, |row| row.order_id.as_ref().map(OrderRef::as_str)))
    .bind(column(rows, |row| row.amount.decimal()))
    .bind(column(rows, |row| row.captured.decimal()))
    .bind(column(rows, |row| row.refunded.decimal()))
    .bind(column(rows, |row| state_names(row.state).0))
    .bind(column(rows, |row| state_names(row.state).1))
    .bind(column(rows, |row| state_names(row.state).2))
    .bind(column(rows, |row| row.created_at))
    .bind(column(rows, |row| row.expires_at))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn changed_reservations(
    connection: &mut PgConnection,
    rows: &[Reservation],
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "UPDATE reservations
         SET captured = new.captured, refunded = new.refunded, state = new.state
         FROM unnest($1::bigint[], $2::text[], $3::numeric[], $4::numeric[], $5::text[])
             AS new (account_id, reserve_id, captured, refunded, state)
         WHERE reservations.account_id = ANY(ARRAY[new.account_id])
             AND reservations.reserve_id = new.reserve_id",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.reserve_id.as_str()))
    .bind(column(rows, |row| row.captured.decimal()))
    .bind(column(rows, |row| row.refunded.decimal()))
    .bind(column(rows, |row| state_names(row.state).0))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn deposits(connection: &mut PgConnection, rows: &[Deposit]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "INSERT INTO deposits (account_id, deposit_id, amount, created_at, deposited_by)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::numeric[], $4::timestamptz[],
             $5::text[])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.deposit_id.as_str()))
    .bind(column(rows, |row| row.amount.decimal()))
    .bind(column(rows, |row| row.created_at))
    .bind(column(rows, |row| row.by.as_ref().map(Actor::as_str)))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn refunds(connection: &mut PgConnection, rows: &[Refund]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "INSERT INTO refunds (account_id, reserve_id, refund_id, amount, created_at, refunded_by)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[],
             $5::timestamptz[], $6::text[])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.reserve_id.as_str()))
    .bind(column(rows, |row| row.refund_id.as_str()))
    .bind(column(rows, |row| row.amount.decimal()))
    .bind(column(rows, |row| row.created_at))
    .bind(column(rows, |row| row.by.as_ref().map(Actor::as_str)))
    .execute(connection)
    .await?;
    all(rows, &result)
}

pub(super) async fn entries(connection: &mut PgConnection, rows: &[Entry]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let result = sqlx::query(
        "INSERT INTO entries
             (account_id, sequence, kind, amount, balance, reference, order_id, created_at)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::numeric[],
             $5::numeric[], $6::text[], $7::text[], $8::timestamptz[])",
    )
    .bind(column(rows, |row| row.account_id.get()))
    .bind(column(rows, |row| row.sequence))
    .bind(column(rows, |row| kind_name(row.kind)))
    .bind(column(rows, |row| row.amount.decimal()))
    .bind(column(rows, |row| row.balance.decimal()))
    .bind(column(rows, |row| &*row.reference))
    .bind(column(rows, |row| row.order_id.as_ref().map(OrderRef::as_str)))
    .bind(column(rows, |row| row.created_at))
    .execute(connection)
    .await?;
    all(rows, &result)
}

/// The sum is of rows that this statement changed, so that it is exactly what their account has reserved too much. A row
/// stays where it is while its account is locked, so that it is found again by its place.
pub(super) async fn expire_holds(
    connection: &mut PgConnection,
    accounts: &BTreeSet<AccountId>,
    now: OffsetDateTime,
    limit: Option<u32>,
) -> sqlx::Result<Vec<ExpiredHolds>> {
    let rows: Vec<(i64, i64, Amount)> = sqlx::query_as(
        "WITH due AS (
             SELECT ctid FROM reservations
             WHERE state = 'HELD' AND expires_at <= $2 AND account_id + 0 = ANY($1)
             ORDER BY expires_at
             LIMIT $3
         ), expired AS (
             UPDATE reservations SET state = 'EXPIRED' FROM due
             WHERE reservations.ctid = due.ctid
             RETURNING reservations.account_id, amount
         )
         SELECT account_id, count(*), sum(amount) FROM expired GROUP BY account_id",
    )
    .bind(accounts.iter().map(|id| id.get()).collect::<Vec<_>>())
    .bind(now)
    .bind(limit.map(i64::from))
    .fetch_all(connection)
    .await?;
    let expired = rows.into_iter().map(|(id, holds, Amount(amount))| {
        let holds = u64::try_from(holds).map_err(damaged)?;
        Ok(ExpiredHolds { account_id: account_id(id)?, holds, amount })
    });
    expired.collect()
}

fn column<'a, R, C>(rows: &'a [R], value: impl Fn(&'a R) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// Every row was written. Under the account's lock nothing else can be true, and money is worth the look.
fn all<R>(rows: &[R], result: &PgQueryResult) -> sqlx::Result<()> {
    let written = usize::try_from(result.rows_affected()).unwrap_or(usize::MAX);
    if written == rows.len() { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
