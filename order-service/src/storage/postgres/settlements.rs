//! The outbox as an operator sees it: what stands there, and what is done about it by hand.

use std::time::Duration;

use database::Postgres;
use proto::id::AccountId;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::outbox;
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
        coalesce((SELECT extract(epoch FROM now() - min(created_at)) FROM outbox WHERE attempts > 0), 0)::float8
            AS oldest_seconds";

const WAITING: &str = "
    SELECT * FROM outbox
    WHERE $1::bigint IS NULL OR (account_id, order_id, action) > ($1, $2::uuid, $3::text)
    ORDER BY account_id, order_id, action
    LIMIT $4";

const HASTEN: &str = "
    UPDATE outbox SET due_at = now() WHERE account_id = $1 AND order_id = $2 RETURNING *";

const LOCK: &str = "
    SELECT * FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3 FOR UPDATE";

const RECORD: &str = "
    INSERT INTO settlement_resolutions (account_id, order_id, action, amount, refused, attempts, created_at, note)
    SELECT account_id, order_id, action, amount, refused, attempts, created_at, $4
    FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3";

const DELETE: &str = "DELETE FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3";

impl Settlements for Postgres {
    async fn backlog(connection: &mut PgConnection) -> sqlx::Result<Backlog> {
        let row = sqlx::query(BACKLOG).fetch_one(connection).await?;
        let oldest: f64 = row.try_get("oldest_seconds")?;
        Ok(Backlog {
            refused: row.try_get::<i64, _>("refused")?.unsigned_abs(),
            oldest: Duration::try_from_secs_f64(oldest).unwrap_or_default(),
        })
    }

    async fn waiting(
        connection: &mut PgConnection,
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
        connection: &mut PgConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Vec<Waiting>> {
        let query = sqlx::query(HASTEN).bind(account.get()).bind(order_id);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }

    async fn lock_notice(
        connection: &mut PgConnection,
        (account, order_id, action): NoticeName,
    ) -> sqlx::Result<Option<Waiting>> {
        let query = sqlx::query(LOCK).bind(account.get()).bind(order_id).bind(action.as_str());
        query.fetch_optional(connection).await?.as_ref().map(waiting).transpose()
    }

    async fn give_up_notice(
        connection: &mut PgConnection,
        (account, order_id, action): NoticeName,
        note: &str,
    ) -> sqlx::Result<()> {
        let named =
            |query| sqlx::query(query).bind(account.get()).bind(order_id).bind(action.as_str());
        named(RECORD).bind(note).execute(&mut *connection).await?;
        named(DELETE).execute(connection).await.map(drop)
    }
}

pub(super) fn waiting(row: &PgRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        notice: outbox::notice(row)?,
        refused: row.try_get("refused")?,
        attempts: row.try_get("attempts")?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
    })
}
