//! What whole transactions left to be told.

use database::Sqlite;
use proto::{Money, id::AccountId};
use serde_json::json;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{outbox, rows, settlements};
use crate::{
    order::Notice,
    storage::{
        outbox::{REFUSED_PAUSE_MIN, RefusedNotice, Waiting},
        tables::{Hold, NoticeBatches},
    },
};

const INSERT: &str = "
    INSERT INTO notice_batches (due_at, created_at, notices, owner)
    VALUES (?1, ?2, ?3, (SELECT worker_id FROM workers WHERE worker_id = ?4 AND ended_at IS NULL)) RETURNING batch_id";

const LEASE: &str = "
    UPDATE notice_batches
    SET attempts = attempts + 1, due_at = ?1 + ?2 * min(attempts + 1, 8),
        owner = (SELECT worker_id FROM workers WHERE worker_id = ?4 AND ended_at IS NULL)
    WHERE batch_id IN (
        SELECT batch_id FROM (
            SELECT batch_id,
                sum(json_array_length(notices)) OVER (ORDER BY due_at, batch_id) - json_array_length(notices) AS before
            FROM notice_batches WHERE due_at <= ?1
        )
        WHERE before < ?3
    )
    RETURNING batch_id, notices";

const DELETE: &str =
    "DELETE FROM notice_batches WHERE batch_id IN (SELECT value FROM json_each(?1))";

const MOVE: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, ?2 FROM json_each(?1) WHERE TRUE
    ON CONFLICT DO NOTHING";

/// What has moved is no longer the batch's.
const TAKE_OUT: &str = "
    UPDATE notice_batches SET notices = (
        SELECT json_group_array(json(n.value)) FROM json_each(notice_batches.notices) AS n
        WHERE NOT EXISTS (
            SELECT 1 FROM json_each(?1) AS r
            WHERE r.value ->> 0 = notice_batches.batch_id AND r.value ->> 1 = n.value ->> 1
              AND r.value ->> 2 = n.value ->> 2
        )
    )
    WHERE batch_id IN (SELECT r.value ->> 0 FROM json_each(?1) AS r)";

const HASTEN: &str = "
    UPDATE notice_batches SET due_at = ?3 WHERE EXISTS (
        SELECT 1 FROM json_each(notices) AS n WHERE n.value ->> 0 = ?1 AND unhex(n.value ->> 1) = ?2
    )";

const READ: &str = "
    SELECT n.value ->> 0 AS account_id, unhex(n.value ->> 1) AS order_id, n.value ->> 2 AS action,
        n.value ->> 3 AS amount, NULL AS refused, b.attempts, b.created_at, b.due_at
    FROM notice_batches AS b CROSS JOIN json_each(b.notices) AS n
    WHERE n.value ->> 0 = ?1 AND unhex(n.value ->> 1) = ?2";

impl NoticeBatches for Sqlite {
    async fn insert_notice_batch(
        connection: &mut SqliteConnection,
        notices: &[&Notice],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<i64> {
        let now = rows::now(connection).await?;
        let insert = sqlx::query(INSERT).bind(now + rows::micros(lease)).bind(now);
        let insert = insert.bind(rows::table(notices.iter().copied().map(outbox::row))).bind(owner);
        insert.fetch_one(connection).await?.try_get("batch_id")
    }

    async fn lease_notice_batches(
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
        let mut notices = Vec::new();
        for row in &leased {
            notices.extend(members(row)?);
        }
        Ok(notices)
    }

    async fn delete_notice_batches(
        connection: &mut SqliteConnection,
        batches: &[i64],
    ) -> sqlx::Result<()> {
        sqlx::query(DELETE).bind(json!(batches).to_string()).execute(connection).await.map(drop)
    }

    async fn move_to_outbox(
        connection: &mut SqliteConnection,
        refused: &[&RefusedNotice],
    ) -> sqlx::Result<()> {
        let due = rows::now(connection).await? + rows::micros(REFUSED_PAUSE_MIN);
        let moved = rows::table(refused.iter().map(|refused| outbox::row(&refused.notice)));
        sqlx::query(MOVE).bind(moved).bind(due).execute(&mut *connection).await?;
        let names = refused.iter().map(|RefusedNotice { notice, .. }| {
            json!([notice.batch, rows::id(notice.order_id), notice.action.as_str()])
        });
        sqlx::query(TAKE_OUT).bind(rows::table(names)).execute(connection).await.map(drop)
    }

    async fn hasten_notice_batches(
        connection: &mut SqliteConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Vec<Waiting>> {
        let now = rows::now(connection).await?;
        sqlx::query(HASTEN)
            .bind(account.get())
            .bind(order_id)
            .bind(now)
            .execute(&mut *connection)
            .await?;
        let read = sqlx::query(READ).bind(account.get()).bind(order_id);
        read.fetch_all(connection).await?.iter().map(settlements::waiting).collect()
    }
}

/// The notices of a row.
fn members(row: &SqliteRow) -> sqlx::Result<Vec<Notice>> {
    let batch = row.try_get("batch_id")?;
    let members: Vec<(i64, Uuid, String, i64)> =
        serde_json::from_str(row.try_get("notices")?).map_err(rows::odd)?;
    let notice = |(account, order_id, action, units): (_, _, String, _)| {
        Ok(Notice {
            account: AccountId::new(account).map_err(rows::odd)?,
            order_id,
            action: outbox::action(&action)?,
            amount: Money::from_units(units).map_err(rows::odd)?,
            batch: Some(batch),
        })
    };
    members.into_iter().map(notice).collect()
}
