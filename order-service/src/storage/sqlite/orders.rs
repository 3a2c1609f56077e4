//! Orders and payments: written, read, listed, cancelled.

use database::Sqlite;
use proto::{
    Currency,
    id::{AccountId, Actor, IdempotencyKey},
};
use serde_json::json;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rows;
use crate::{
    order::{Order, decision::Earlier},
    storage::tables::Orders,
};

/// Rows, of this and of the next: account, order, amount, time, key, basket, payment, currency.
const INSERT_ORDERS: &str = "
    INSERT INTO orders (account_id, order_id, amount, created_at, idempotency_key, basket, status, currency)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, 'PLACED', value ->> 7
    FROM json_each(?1)";

const INSERT_PAYMENTS: &str = "
    INSERT INTO payments (account_id, order_id, amount, created_at, payment_id, status)
    SELECT value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, unhex(value ->> 6), 'COMPLETED'
    FROM json_each(?1)";

/// The payment of an order whose key was claimed among the keys is a row of its own. What is undecided or refused is no
/// order.
const BY_KEYS: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM json_each(?1) AS c
    CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.idempotency_key = c.value ->> 1
    WHERE o.status IN ('PLACED', 'CANCELLED')";

const BY_ID: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM orders AS o
    WHERE o.account_id = ?1 AND o.order_id = ?2 AND o.status IN ('PLACED', 'CANCELLED')";

/// A page is one range of the index by age, from its bound on.
const LIST: &str = "
    SELECT o.*, coalesce(o.payment, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    )) AS payment_id
    FROM orders AS o
    WHERE o.status IN ('PLACED', 'CANCELLED') AND o.account_id = ?1 AND (o.created_at, o.order_id) < (?2, ?3)
    ORDER BY o.created_at DESC, o.order_id DESC LIMIT ?4";

const PLACED_AT: &str = "SELECT created_at FROM orders WHERE account_id = ?1 AND order_id = ?2";

const CANCEL_ORDER: &str = "
    UPDATE orders SET status = 'CANCELLED', cancelled_by = ?3 WHERE account_id = ?1 AND order_id = ?2";

const REFUND_PAYMENT: &str =
    "UPDATE payments SET status = 'REFUNDED' WHERE account_id = ?1 AND order_id = ?2";

impl Orders for Sqlite {
    async fn insert_orders(
        connection: &mut SqliteConnection,
        orders: &[&Order],
    ) -> sqlx::Result<()> {
        let placed = orders.iter().map(|order| {
            json!([
                order.account.get(),
                rows::id(order.order_id),
                order.amount.units(),
                rows::micros_of(order.placed_at),
                order.key.as_str(),
                order.basket.to_json(),
                rows::id(order.payment_id),
                order.currency.code(),
            ])
        });
        let placed = rows::table(placed);
        for statement in [INSERT_ORDERS, INSERT_PAYMENTS] {
            sqlx::query(statement).bind(&placed).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn orders_of_keys(
        connection: &mut SqliteConnection,
        keys: &[(AccountId, &IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Earlier> {
        let keys = keys.iter().map(|(account, key)| json!([account.get(), key.as_str()]));
        let found = sqlx::query(BY_KEYS).bind(rows::table(keys)).fetch_all(connection).await?;
        let order = |row| {
            let order = rows::order(row, default)?;
            Ok(((order.account, order.key.clone()), order))
        };
        found.iter().map(order).collect()
    }

    async fn orders(
        connection: &mut SqliteConnection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        let mut orders = Vec::with_capacity(ids.len());
        for (account, order_id) in ids {
            let query = sqlx::query(BY_ID).bind(account.get()).bind(order_id);
            if let Some(row) = query.fetch_optional(&mut *connection).await? {
                orders.push(rows::order(&row, default)?);
            }
        }
        Ok(orders)
    }

    async fn lock_orders(
        connection: &mut SqliteConnection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        Self::orders(connection, ids, default).await
    }

    async fn write_cancelled(
        connection: &mut SqliteConnection,
        orders: &[(&Order, Option<&Actor>)],
    ) -> sqlx::Result<()> {
        for (order, by) in orders {
            let named =
                |statement| sqlx::query(statement).bind(order.account.get()).bind(order.order_id);
            let cancel = named(CANCEL_ORDER).bind(by.map(Actor::as_str));
            cancel.execute(&mut *connection).await?;
            named(REFUND_PAYMENT).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn placed_at(
        connection: &mut SqliteConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Option<OffsetDateTime>> {
        let query = sqlx::query(PLACED_AT).bind(account.get()).bind(order_id);
        let row = query.fetch_optional(connection).await?;
        row.map(|row| rows::time(row.try_get("created_at")?)).transpose()
    }

    async fn page_of_orders(
        connection: &mut SqliteConnection,
        account: AccountId,
        (placed_at, order_id): (OffsetDateTime, Uuid),
        limit: usize,
        default: Currency,
    ) -> sqlx::Result<Vec<Order>> {
        let before = rows::micros_of(placed_at);
        let query = sqlx::query(LIST).bind(account.get()).bind(before).bind(order_id);
        let found = query.bind(limit as i64).fetch_all(connection).await?;
        found.iter().map(|row| rows::order(row, default)).collect()
    }
}
