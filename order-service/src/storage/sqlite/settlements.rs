//! The outbox as an operator sees it: what stands there, and what is done about it by hand.

use std::time::Duration;

use database::Sqlite;
use proto::id::AccountId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    outbox,
    rows::{self, Micros},
};
use crate::{
    order::Notice,
    storage::{
        outbox::{Backlog, Waiting},
        tables::{NoticeName, Settlements},
    },
};

/// Each look-up has a partial index, in which the rows are not that their writers settle at once.
const BACKLOG: &str = "
    SELECT (SELECT count(*) FROM outbox WHERE refused IS NOT NULL) AS refused,
        (SELECT min(created_at) FROM outbox WHERE attempts > 0) AS oldest";

const WAITING: &str = "
    SELECT * FROM outbox
    WHERE ?1 IS NULL OR (account_id, order_id, action) > (?1, ?2, ?3)
    ORDER BY account_id, order_id, action
    LIMIT ?4";

const HASTEN: &str = "
    UPDATE outbox SET due_at = ?3 WHERE account_id = ?1 AND order_id = ?2 RETURNING *";

const READ: &str = "SELECT * FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

const RECORD: &str = "
    INSERT INTO settlement_resolutions
        (account_id, order_id, action, amount, refused, attempts, created_at, note, resolved_at)
    SELECT account_id, order_id, action, amount, refused, attempts, created_at, ?4, ?5
    FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

const DELETE: &str = "DELETE FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

impl Settlements for Sqlite {
    async fn backlog(connection: &mut SqliteConnection) -> sqlx::Result<Backlog> {
        let now = rows::now(connection).await?;
        let row = sqlx::query(BACKLOG).fetch_one(connection).await?;
        let oldest: Option<Micros> = row.try_get("oldest")?;
        let age = oldest.map_or(0, |oldest| now - oldest);
        Ok(Backlog {
            refused: row.try_get::<i64, _>("refused")?.unsigned_abs(),
            oldest: Duration::from_micros(u64::try_from(age).unwrap_or_default()),
        })
    }

    async fn waiting(
        connection: &mut SqliteConnection,
        after: Option<&Notice>,
        limit: usize,
    ) -> sqlx::Result<Vec<Waiting>> {
        let found = sqlx::query(WAITING)
            .bind(after.map(|notice| notice.account.get()))
            .bind(after.map(|notice| notice.order_id))
            .bind(after.map(|notice| notice.action.as_str()))
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        found.iter().map(waiting).collect()
    }

    async fn hasten(
        connection: &mut SqliteConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Vec<Waiting>> {
        let now = rows::now(connection).await?;
        let query = sqlx::query(HASTEN).bind(account.get()).bind(order_id).bind(now);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }

    async fn lock_notice(
        connection: &mut SqliteConnection,
        (account, order_id, action): NoticeName,
    ) -> sqlx::Result<Option<Waiting>> {
        let query = sqlx::query(READ).bind(account.get()).bind(order_id).bind(action.as_str());
        query.fetch_optional(connection).await?.as_ref().map(waiting).transpose()
    }

    async fn give_up_notice(
        connection: &mut SqliteConnection,
        (account, order_id, action): NoticeName,
        note: &str,
    ) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        let named =
            |query| sqlx::query(query).bind(account.get()).bind(order_id).bind(action.as_str());
        named(RECORD).bind(note).bind(now).execute(&mut *connection).await?;
        named(DELETE).execute(connection).await.map(drop)
    }
}

pub(super) fn waiting(row: &SqliteRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        notice: outbox::notice(row)?,
        refused: row.try_get("refused")?,
        attempts: row.try_get("attempts")?,
        created_at: rows::time(row.try_get("created_at")?)?,
        due_at: rows::time(row.try_get("due_at")?)?,
    })
}
