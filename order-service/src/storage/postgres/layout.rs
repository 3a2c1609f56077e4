//! The layout itself.

use database::Postgres;
use proto::id::AccountId;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::rows;
use crate::storage::{Layout, LeftInOrders, tables::Layouts};

const READ: &str = "SELECT claims FROM layout";

const CHANGE: &str = "UPDATE layout SET claims = $2, changed_at = now() WHERE claims = $1";

/// Every undecided order is in a batch, and every refusal that has not left.
const LEFT: &str = "
    SELECT (
        SELECT count(*)
        FROM claim_batches AS b
        CROSS JOIN LATERAL UNNEST(b.accounts, b.orders, b.keys) AS c (account_id, order_id, idempotency_key)
        CROSS JOIN LATERAL (
            SELECT FROM orders AS one
            WHERE one.account_id = c.account_id AND one.order_id = c.order_id
              AND one.idempotency_key = c.idempotency_key AND one.status = 'PROCESSING' AND one.batch = b.batch_id
            OFFSET 0
        ) AS o
    ) AS undecided,
    (SELECT coalesce(sum(cardinality(orders)), 0) FROM notice_batches)::bigint AS untold,
    (SELECT coalesce(sum(cardinality(orders)), 0) FROM refused_batches)::bigint AS refused";

/// A payment is in one place at a time. The rows are locked, so that a cancel comes before or after.
const RETURN: &str = "
    WITH page AS MATERIALIZED (
        SELECT account_id, order_id, payment, amount, status, created_at FROM orders
        WHERE (account_id, order_id) > ($1, $2)
        ORDER BY account_id, order_id LIMIT $3
        FOR NO KEY UPDATE
    ), returned AS (
        INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
        SELECT account_id, order_id, payment, amount,
            CASE status WHEN 'CANCELLED' THEN 'REFUNDED' ELSE 'COMPLETED' END, created_at
        FROM page WHERE payment IS NOT NULL
        RETURNING account_id, order_id
    ), cleared AS (
        UPDATE orders AS o SET payment = NULL FROM returned AS r
        WHERE o.account_id = r.account_id AND o.order_id = r.order_id
    )
    SELECT account_id, order_id FROM page ORDER BY account_id DESC, order_id DESC LIMIT 1";

impl Layouts for Postgres {
    async fn layout(connection: &mut PgConnection) -> sqlx::Result<Layout> {
        let layout: String = sqlx::query_scalar(READ).fetch_one(connection).await?;
        Layout::parse(&layout).ok_or_else(|| rows::odd(layout))
    }

    async fn change_layout(
        connection: &mut PgConnection,
        from: Layout,
        to: Layout,
    ) -> sqlx::Result<bool> {
        let change = sqlx::query(CHANGE).bind(from.as_str()).bind(to.as_str());
        change.execute(connection).await.map(|changed| changed.rows_affected() > 0)
    }

    async fn left_in_orders(connection: &mut PgConnection) -> sqlx::Result<LeftInOrders> {
        let left = sqlx::query(LEFT).fetch_one(connection).await?;
        let count = |name| left.try_get::<i64, _>(name).map(i64::unsigned_abs);
        Ok(LeftInOrders {
            undecided: count("undecided")?,
            untold: count("untold")?,
            refused: count("refused")?,
        })
    }

    async fn return_payments(
        connection: &mut PgConnection,
        after: Option<(AccountId, Uuid)>,
        limit: usize,
    ) -> sqlx::Result<Option<(AccountId, Uuid)>> {
        let last = sqlx::query(RETURN)
            .bind(after.map_or(0, |(account, _)| account.get()))
            .bind(after.map_or(Uuid::nil(), |(_, order_id)| order_id))
            .bind(limit as i64)
            .fetch_optional(connection)
            .await?;
        last.map(|row| Ok((rows::account(&row)?, row.try_get("order_id")?))).transpose()
    }
}
