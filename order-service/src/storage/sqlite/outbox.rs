//! The outbox: what the account service must still be told. See `postgres/outbox.rs`.

use std::time::Duration;

use database::{Sqlite, Transaction};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::rows::{self, Micros};
use crate::order::{Action, Notice};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, ?2 FROM json_each(?1)";

const LEASE: &str = "
    UPDATE outbox SET attempts = attempts + 1, due_at = ?1 + ?2 * min(attempts + 1, 8)
    WHERE (account_id, order_id, action) IN (
        SELECT account_id, order_id, action FROM outbox WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3
    )
    RETURNING *";

const FINISH: &str = "
    DELETE FROM outbox WHERE (account_id, order_id, action) IN (
        SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?1)
    )";

/// Writes notices, leased to this process until `due`.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    notices: &[&Notice],
    due: Micros,
) -> sqlx::Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    let rows = rows::table(notices.iter().copied().map(row));
    sqlx::query(INSERT).bind(rows).bind(due).execute(connection).await.map(drop)
}

/// What names a row, and its amount.
fn row(notice: &Notice) -> Value {
    let order = rows::id(notice.order_id);
    json!([notice.account.get(), order, notice.action.as_str(), notice.amount.units()])
}

pub(super) struct LeaseNotices {
    pub(super) limit: usize,
    pub(super) lease: Duration,
}

impl Transaction<Sqlite> for LeaseNotices {
    const NAME: &'static str = "lease_notices";
    type Output = Vec<Notice>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let now = rows::now(connection).await?;
        let leased = sqlx::query(LEASE)
            .bind(now)
            .bind(rows::micros(self.lease))
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        leased.iter().map(notice).collect()
    }
}

pub(super) struct FinishNotices<'a> {
    pub(super) notices: &'a [Notice],
}

impl Transaction<Sqlite> for FinishNotices<'_> {
    const NAME: &'static str = "finish_notices";
    type Output = ();

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let rows = rows::table(self.notices.iter().map(row));
        sqlx::query(FINISH).bind(rows).execute(connection).await.map(drop)
    }
}

fn notice(row: &SqliteRow) -> sqlx::Result<Notice> {
    let action: &str = row.try_get("action")?;
    Ok(Notice {
        account: rows::account(row)?,
        order_id: row.try_get("order_id")?,
        action: Action::ALL
            .into_iter()
            .find(|known| known.as_str() == action)
            .ok_or_else(|| rows::odd(action.to_owned()))?,
        amount: rows::money(row, "amount")?,
    })
}
