//! Orders and payments: written, read, listed, cancelled.

use database::Postgres;
use proto::{
    Currency,
    id::{AccountId, Actor, IdempotencyKey},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rows;
use crate::{
    order::{Order, decision::Earlier},
    storage::tables::Orders,
};

const INSERT_ORDERS: &str = "
    INSERT INTO orders (account_id, order_id, idempotency_key, amount, basket, currency, status, created_at)
    SELECT c.*, 'PLACED', now()
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[], $5::text[], $6::text[]) AS c";

const INSERT_PAYMENTS: &str = "
    INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
    SELECT c.*, 'COMPLETED', now()
    FROM UNNEST($1::bigint[], $2::uuid[], $3::uuid[], $4::numeric[]) AS c";

/// The payment of an order whose key was claimed among the keys is a row of its own. What is undecided or refused is no
/// order.
const BY_KEY: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
    JOIN orders AS o USING (account_id, idempotency_key)
    WHERE o.status IN ('PLACED', 'CANCELLED')";

const BY_ID: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM UNNEST($1::bigint[], $2::uuid[]) AS c (account_id, order_id)
    JOIN orders AS o USING (account_id, order_id)
    WHERE o.status IN ('PLACED', 'CANCELLED')";

/// A page is one range of the index by age (see `indexes.rs` for the sum), from its bound on; the payments are looked up one
/// by one.
const LIST: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM orders AS o
    WHERE o.status IN ('PLACED', 'CANCELLED') AND o.account_id + 0 = $1 AND (o.created_at, o.order_id) < ($2, $3)
    ORDER BY o.created_at DESC, o.order_id DESC
    LIMIT $4";

const PLACED_AT: &str = "SELECT created_at FROM orders WHERE account_id = $1 AND order_id = $2";

const LOCK: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM UNNEST($1::bigint[], $2::uuid[]) AS c (account_id, order_id)
    JOIN orders AS o USING (account_id, order_id)
    WHERE o.status IN ('PLACED', 'CANCELLED')
    ORDER BY o.account_id, o.order_id
    FOR NO KEY UPDATE OF o";

const CANCEL: &str = "
    WITH cancelled AS (
        SELECT * FROM UNNEST($1::bigint[], $2::uuid[], $3::text[]) AS c (account_id, order_id, cancelled_by)
    ),
    refunded AS (
        UPDATE payments AS p SET status = 'REFUNDED' FROM cancelled AS c
        WHERE p.account_id = c.account_id AND p.order_id = c.order_id
    )
    UPDATE orders AS o SET status = 'CANCELLED', cancelled_by = c.cancelled_by FROM cancelled AS c
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id";

impl Orders for Postgres {
    async fn insert_orders(connection: &mut PgConnection, orders: &[&Order]) -> sqlx::Result<()> {
        let accounts: Vec<_> = orders.iter().map(|order| order.account.get()).collect();
        let ids: Vec<_> = orders.iter().map(|order| order.order_id).collect();
        let amounts: Vec<_> = orders.iter().map(|order| order.amount.decimal()).collect();
        sqlx::query(INSERT_ORDERS)
            .bind(&accounts)
            .bind(&ids)
            .bind(orders.iter().map(|order| order.key.as_str()).collect::<Vec<_>>())
            .bind(&amounts)
            .bind(orders.iter().map(|order| order.basket.to_json()).collect::<Vec<_>>())
            .bind(orders.iter().map(|order| order.currency.code()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
        sqlx::query(INSERT_PAYMENTS)
            .bind(&accounts)
            .bind(&ids)
            .bind(orders.iter().map(|order| order.payment_id).collect::<Vec<_>>())
            .bind(&amounts)
            .execute(connection)
            .await
            .map(drop)
    }

    async fn orders_of_keys(
        connection: &mut PgConnection,
        keys: &[(AccountId, &IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Earlier> {
        let found = sqlx::query(BY_KEY)
            .bind(keys.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let order = |row| {
            let order = rows::order(row, default)?;
            Ok(((order.account, order.key.clone()), order))
        };
        found.iter().map(order).collect()
    }

    async fn orders(
        connection: &mut PgConnection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        by_id(BY_ID, connection, ids, default).await
    }

    async fn lock_orders(
        connection: &mut PgConnection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        by_id(LOCK, connection, ids, default).await
    }

    async fn write_cancelled(
        connection: &mut PgConnection,
        orders: &[(&Order, Option<&Actor>)],
    ) -> sqlx::Result<()> {
        sqlx::query(CANCEL)
            .bind(orders.iter().map(|(order, _)| order.account.get()).collect::<Vec<_>>())
            .bind(orders.iter().map(|(order, _)| order.order_id).collect::<Vec<_>>())
            .bind(orders.iter().map(|(_, by)| by.map(Actor::as_str)).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn placed_at(
        connection: &mut PgConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Option<OffsetDateTime>> {
        let query = sqlx::query(PLACED_AT).bind(account.get()).bind(order_id);
        let row = query.fetch_optional(connection).await?;
        row.map(|row| row.try_get("created_at")).transpose()
    }

    async fn page_of_orders(
        connection: &mut PgConnection,
        account: AccountId,
        (placed_at, order_id): (OffsetDateTime, Uuid),
        limit: usize,
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        let query = sqlx::query(LIST).bind(account.get()).bind(placed_at).bind(order_id);
        let found = query.bind(limit as i64).fetch_all(connection).await?;
        orders(&found, default)
    }
}

async fn by_id(
    statement: &'static str,
    connection: &mut PgConnection,
    ids: &[(AccountId, Uuid)],
    default: Currency,
) -> sqlx::Result<Vec<Order>> {
    let found = sqlx::query(statement)
        .bind(ids.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
        .bind(ids.iter().map(|(_, order_id)| *order_id).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    orders(&found, default)
}

fn orders(rows: &[PgRow], default: Currency) -> sqlx::Result<Vec<Order>> {
    rows.iter().map(|row| rows::order(row, default)).collect()
}
