//! The outbox: what the account service must still be told.

use std::collections::HashSet;

use database::Sqlite;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::rows::{self, Micros};
use crate::{
    order::{Action, Notice},
    storage::{
        outbox::{REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RefusedNotice},
        tables::{Hold, NoticeName, Outbox},
    },
};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at, owner)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, ?2,
        (SELECT worker_id FROM workers WHERE worker_id = ?3 AND ended_at IS NULL)
    FROM json_each(?1)";

/// Columns are named: a process that answers all of them panics in sqlx once a migration has added one.
const LEASE: &str = "
    UPDATE outbox SET attempts = attempts + 1, due_at = ?1 + ?2 * min(attempts + 1, 8),
        owner = (SELECT worker_id FROM workers WHERE worker_id = ?4 AND ended_at IS NULL)
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

impl Outbox for Sqlite {
    async fn insert_notices(
        connection: &mut SqliteConnection,
        notices: &[&Notice],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<()> {
        let due = rows::now(connection).await? + rows::micros(lease);
        let rows = rows::table(notices.iter().copied().map(row));
        sqlx::query(INSERT).bind(rows).bind(due).bind(owner).execute(connection).await.map(drop)
    }

    async fn lease_notices(
        connection: &mut SqliteConnection,
        limit: usize,
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<Vec<Notice>> {
        let now = rows::now(connection).await?;
        let leased = sqlx::query(LEASE)
            .bind(now)
            .bind(rows::micros(lease))
            .bind(limit as i64)
            .bind(owner)
            .fetch_all(connection)
            .await?;
        leased.iter().map(notice).collect()
    }

    async fn delete_notices(
        connection: &mut SqliteConnection,
        notices: &[Notice],
    ) -> sqlx::Result<()> {
        let rows = rows::table(notices.iter().map(row));
        sqlx::query(FINISH).bind(rows).execute(connection).await.map(drop)
    }

    async fn refuse_notices(
        connection: &mut SqliteConnection,
        refused: &[RefusedNotice],
    ) -> sqlx::Result<HashSet<NoticeName>> {
        let now = rows::now(connection).await?;
        let mut new = HashSet::new();
        for refused in refused {
            let Notice { account, order_id, action, .. } = refused.notice;
            if refuse(connection, refused, now).await? {
                new.insert((account, order_id, action));
            }
        }
        Ok(new)
    }
}

/// What names a row, and its amount.
pub(super) fn row(notice: &Notice) -> Value {
    let order = rows::id(notice.order_id);
    json!([notice.account.get(), order, notice.action.as_str(), notice.amount.units()])
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
    Ok(Notice {
        account: rows::account(row)?,
        order_id: row.try_get("order_id")?,
        action: action(row.try_get("action")?)?,
        amount: rows::money(row, "amount")?,
        batch: None,
    })
}

pub(super) fn action(name: &str) -> sqlx::Result<Action> {
    let known = Action::ALL.into_iter().find(|known| known.as_str() == name);
    known.ok_or_else(|| rows::odd(name.to_owned()))
}
