//! The outbox: what the account service must still be told. See `postgres/outbox.rs`.

use std::time::Duration;

use database::{Sqlite, Transaction};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::rows::{self, Micros};
use crate::{
    order::{Action, Notice},
    storage::outbox::{REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RefusedNotice},
};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, ?2 FROM json_each(?1)";

/// Columns are named: a process that answers all of them panics in sqlx once a migration has added one.
const LEASE: &str = "
    UPDATE outbox SET attempts = attempts + 1, due_at = ?1 + ?2 * min(attempts + 1, 8)
    WHERE (account_id, order_id, action) IN (
        SELECT account_id, order_id, action FROM outbox WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3
    )
    RETURNING account_id, order_id, action, amount";

const FINISH: &str = "
    DELETE FROM outbox WHERE (account_id, order_id, action) IN (
        SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?1)
    )";

const REFUSED_BEFORE: &str =
    "SELECT refused FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

/// A notice that its writer tells for the first time has no attempt yet.
const REFUSE: &str = "
    UPDATE outbox
    SET refused = ?4, attempts = max(attempts, 1),
        due_at = ?5 + min(?7, ?6 << min(max(attempts, 1) - 1, 30))
    WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

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

pub(super) struct RefuseNotices<'a> {
    pub(super) refused: &'a [RefusedNotice],
}

impl Transaction<Sqlite> for RefuseNotices<'_> {
    const NAME: &'static str = "refuse_notices";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<bool>> {
        let now = rows::now(connection).await?;
        let mut new = Vec::with_capacity(self.refused.len());
        for refused in self.refused {
            new.push(refuse(connection, refused, now).await?);
        }
        Ok(new)
    }
}

/// Answers whether this refusal is new.
async fn refuse(
    connection: &mut SqliteConnection,
    RefusedNotice { notice, reason }: &RefusedNotice,
    now: Micros,
) -> sqlx::Result<bool> {
    let before = sqlx::query(REFUSED_BEFORE)
        .bind(notice.account.get())
        .bind(notice.order_id)
        .bind(notice.action.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(before) = before else { return Ok(false) };

    sqlx::query(REFUSE)
        .bind(notice.account.get())
        .bind(notice.order_id)
        .bind(notice.action.as_str())
        .bind(reason.as_str())
        .bind(now)
        .bind(rows::micros(REFUSED_PAUSE_MIN))
        .bind(rows::micros(REFUSED_PAUSE_MAX))
        .execute(connection)
        .await?;
    Ok(before.try_get::<Option<&str>, _>("refused")? != Some(reason.as_str()))
}

pub(super) fn notice(row: &SqliteRow) -> sqlx::Result<Notice> {
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
