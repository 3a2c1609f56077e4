//! What whole transactions left to be told.

use database::Postgres;
use proto::id::AccountId;
use rust_decimal::Decimal;
use sqlx::{PgConnection, Row, postgres::PgRow};
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
    INSERT INTO notice_batches (due_at, accounts, orders, actions, amounts, owner)
    VALUES (
        now() + make_interval(secs => $5), $1, $2, $3, $4,
        (SELECT worker_id FROM workers WHERE worker_id = $6 AND ended_at IS NULL)
    )
    RETURNING batch_id";

const LEASE: &str = "
    WITH due AS MATERIALIZED (
        SELECT batch_id, due_at, cardinality(orders) AS notices FROM notice_batches
        WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), first AS (
        SELECT batch_id FROM (
            SELECT batch_id, sum(notices) OVER (ORDER BY due_at, batch_id) - notices AS before FROM due
        ) AS counted
        WHERE before < $2
    )
    UPDATE notice_batches AS b
    SET attempts = b.attempts + 1, due_at = now() + make_interval(secs => $1 * least(b.attempts + 1, 8)),
        owner = (SELECT worker_id FROM workers WHERE worker_id = $3 AND ended_at IS NULL)
    FROM first WHERE b.batch_id = first.batch_id
    RETURNING b.batch_id, b.accounts, b.orders, b.actions, b.amounts";

const DELETE: &str = "DELETE FROM notice_batches WHERE batch_id = ANY($1)";

const MOVE: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT c.*, now() + make_interval(secs => $5)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[]) AS c
    ON CONFLICT DO NOTHING";

/// What has moved is no longer the batch's.
const TAKE_OUT: &str = "
    UPDATE notice_batches AS b
    SET (accounts, orders, actions, amounts) = (
        SELECT
            coalesce(array_agg(n.account_id), '{}'), coalesce(array_agg(n.order_id), '{}'),
            coalesce(array_agg(n.action), '{}'), coalesce(array_agg(n.amount), '{}')
        FROM UNNEST(b.accounts, b.orders, b.actions, b.amounts) AS n (account_id, order_id, action, amount)
        WHERE NOT EXISTS (
            SELECT FROM UNNEST($1::bigint[], $2::uuid[], $3::text[]) AS r (batch_id, order_id, action)
            WHERE r.batch_id = b.batch_id AND r.order_id = n.order_id AND r.action = n.action
        )
    )
    WHERE b.batch_id = ANY($1)";

const HASTEN: &str = "
    WITH hastened AS (
        UPDATE notice_batches SET due_at = now() WHERE $2 = ANY(orders)
        RETURNING due_at, attempts, created_at, accounts, orders, actions, amounts
    )
    SELECT n.account_id, n.order_id, n.action, n.amount, NULL::text AS refused, b.attempts, b.created_at, b.due_at
    FROM hastened AS b
    CROSS JOIN LATERAL UNNEST(b.accounts, b.orders, b.actions, b.amounts) AS n (account_id, order_id, action, amount)
    WHERE n.account_id = $1 AND n.order_id = $2";

impl NoticeBatches for Postgres {
    async fn insert_notice_batch(
        connection: &mut PgConnection,
        notices: &[&Notice],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<i64> {
        let row = outbox::bind_names(sqlx::query(INSERT), notices)
            .bind(notices.iter().map(|notice| notice.amount.decimal()).collect::<Vec<_>>())
            .bind(lease.as_secs_f64())
            .bind(owner)
            .fetch_one(connection)
            .await?;
        row.try_get("batch_id")
    }

    async fn lease_notice_batches(
        connection: &mut PgConnection,
        limit: usize,
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<Vec<Notice>> {
        let leased = sqlx::query(LEASE)
            .bind(lease.as_secs_f64())
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
        connection: &mut PgConnection,
        batches: &[i64],
    ) -> sqlx::Result<()> {
        sqlx::query(DELETE).bind(batches).execute(connection).await.map(drop)
    }

    async fn move_to_outbox(
        connection: &mut PgConnection,
        refused: &[&RefusedNotice],
    ) -> sqlx::Result<()> {
        let notices: Vec<_> = refused.iter().map(|refused| &refused.notice).collect();
        outbox::bind_names(sqlx::query(MOVE), &notices)
            .bind(notices.iter().map(|notice| notice.amount.decimal()).collect::<Vec<_>>())
            .bind(REFUSED_PAUSE_MIN.as_secs_f64())
            .execute(&mut *connection)
            .await?;
        sqlx::query(TAKE_OUT)
            .bind(notices.iter().filter_map(|notice| notice.batch).collect::<Vec<_>>())
            .bind(notices.iter().map(|notice| notice.order_id).collect::<Vec<_>>())
            .bind(notices.iter().map(|notice| notice.action.as_str()).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn hasten_notice_batches(
        connection: &mut PgConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Vec<Waiting>> {
        let hastened = sqlx::query(HASTEN).bind(account.get()).bind(order_id);
        hastened.fetch_all(connection).await?.iter().map(settlements::waiting).collect()
    }
}

/// The notices of a row.
fn members(row: &PgRow) -> sqlx::Result<Vec<Notice>> {
    let batch = row.try_get("batch_id")?;
    let accounts: Vec<i64> = row.try_get("accounts")?;
    let orders: Vec<Uuid> = row.try_get("orders")?;
    let actions: Vec<String> = row.try_get("actions")?;
    let amounts: Vec<Decimal> = row.try_get("amounts")?;

    let named = accounts.into_iter().zip(orders).zip(actions).zip(amounts);
    let notice = |(((account, order_id), action), amount): (((_, _), String), _)| {
        Ok(Notice {
            account: AccountId::new(account).map_err(rows::odd)?,
            order_id,
            action: outbox::action(&action)?,
            amount: proto::Money::from_decimal(amount).map_err(rows::odd)?,
            batch: Some(batch),
        })
    };
    named.map(notice).collect()
}
