//! The layout itself.

use database::Sqlite;
use proto::id::AccountId;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::rows;
use crate::storage::{Layout, LeftInOrders, tables::Layouts};

const READ: &str = "SELECT claims FROM layout";

const CHANGE: &str = "UPDATE layout SET claims = ?2, changed_at = ?3 WHERE claims = ?1";

const LEFT: &str = "
    SELECT (
        SELECT count(*) FROM claim_batches AS b
        CROSS JOIN json_each(b.orders) AS c
        CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1)
        WHERE o.status = 'PROCESSING' AND o.batch = b.batch_id
    ) AS undecided,
    (SELECT coalesce(sum(json_array_length(notices)), 0) FROM notice_batches) AS untold,
    (SELECT coalesce(sum(json_array_length(orders)), 0) FROM refused_batches) AS refused";

const PAGE: &str = "
    SELECT account_id, order_id FROM orders WHERE (account_id, order_id) > (?1, ?2)
    ORDER BY account_id, order_id LIMIT ?3";

/// A payment is in one place at a time.
const RETURN: &str = "
    INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
    SELECT account_id, order_id, payment, amount,
        CASE status WHEN 'CANCELLED' THEN 'REFUNDED' ELSE 'COMPLETED' END, created_at
    FROM orders
    WHERE (account_id, order_id) > (?1, ?2) AND (account_id, order_id) <= (?3, ?4) AND payment IS NOT NULL";

const CLEAR: &str = "
    UPDATE orders SET payment = NULL
    WHERE (account_id, order_id) > (?1, ?2) AND (account_id, order_id) <= (?3, ?4) AND payment IS NOT NULL";

impl Layouts for Sqlite {
    async fn layout(connection: &mut SqliteConnection) -> sqlx::Result<Layout> {
        let layout: String = sqlx::query_scalar(READ).fetch_one(connection).await?;
        Layout::parse(&layout).ok_or_else(|| rows::odd(layout))
    }

    async fn change_layout(
        connection: &mut SqliteConnection,
        from: Layout,
        to: Layout,
    ) -> sqlx::Result<bool> {
        let now = rows::now(connection).await?;
        let change = sqlx::query(CHANGE).bind(from.as_str()).bind(to.as_str()).bind(now);
        change.execute(connection).await.map(|changed| changed.rows_affected() > 0)
    }

    async fn left_in_orders(connection: &mut SqliteConnection) -> sqlx::Result<LeftInOrders> {
        let left = sqlx::query(LEFT).fetch_one(connection).await?;
        let count = |name| left.try_get::<i64, _>(name).map(i64::unsigned_abs);
        Ok(LeftInOrders {
            undecided: count("undecided")?,
            untold: count("untold")?,
            refused: count("refused")?,
        })
    }

    async fn return_payments(
        connection: &mut SqliteConnection,
        after: Option<(AccountId, Uuid)>,
        limit: usize,
    ) -> sqlx::Result<Option<(AccountId, Uuid)>> {
        let account = after.map_or(0, |(account, _)| account.get());
        let order = after.map_or(Uuid::nil(), |(_, order_id)| order_id);
        let page = sqlx::query(PAGE).bind(account).bind(order).bind(limit as i64);
        let page = page.fetch_all(&mut *connection).await?;
        let Some(last) = page.last() else { return Ok(None) };

        let last: (AccountId, Uuid) = (rows::account(last)?, last.try_get("order_id")?);
        for statement in [RETURN, CLEAR] {
            sqlx::query(statement)
                .bind(account)
                .bind(order)
                .bind(last.0.get())
                .bind(last.1)
                .execute(&mut *connection)
                .await?;
        }
        Ok(Some(last))
    }
}
