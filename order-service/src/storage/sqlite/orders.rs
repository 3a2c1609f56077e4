//! Orders and payments: written by settling, read, listed, cancelled.

use std::time::Duration;

use database::{Sqlite, Transaction};
use proto::id::{AccountId, IdempotencyKey};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{outbox, rows};
use crate::{
    order::{Order, decision::Earlier, request::Request},
    storage::Cancelled,
};

const INSERT_ORDER: &str = "
    INSERT INTO orders (account_id, order_id, idempotency_key, amount, basket, status, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, 'PLACED', ?6)";

const INSERT_PAYMENT: &str = "
    INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
    VALUES (?1, ?2, ?3, ?4, 'COMPLETED', ?5)";

const BY_KEY: &str = "
    SELECT o.*, p.payment_id FROM orders AS o JOIN payments AS p USING (account_id, order_id)
    WHERE o.account_id = ?1 AND o.idempotency_key = ?2";

const BY_ID: &str = "
    SELECT o.*, p.payment_id FROM orders AS o JOIN payments AS p USING (account_id, order_id)
    WHERE o.account_id = ?1 AND o.order_id = ?2";

const LIST: &str = "
    SELECT o.*, p.payment_id FROM orders AS o JOIN payments AS p USING (account_id, order_id)
    WHERE o.account_id = ?1 AND (?2 IS NULL OR o.order_id < ?2)
    ORDER BY o.order_id DESC LIMIT ?3";

const CANCEL_ORDER: &str =
    "UPDATE orders SET status = 'CANCELLED' WHERE account_id = ?1 AND order_id = ?2";

const REFUND_PAYMENT: &str =
    "UPDATE payments SET status = 'REFUNDED' WHERE account_id = ?1 AND order_id = ?2";

const RETURN_STOCK: &str = "UPDATE products SET stock = stock + ?2 WHERE product_id = ?1";

/// Writes a new order with its payment.
pub(super) async fn insert(connection: &mut SqliteConnection, order: &Order) -> sqlx::Result<()> {
    let placed_at = rows::micros_of(order.placed_at);
    sqlx::query(INSERT_ORDER)
        .bind(order.account.get())
        .bind(order.order_id)
        .bind(order.key.as_str())
        .bind(order.amount.units())
        .bind(order.basket.to_json())
        .bind(placed_at)
        .execute(&mut *connection)
        .await?;
    sqlx::query(INSERT_PAYMENT)
        .bind(order.account.get())
        .bind(order.order_id)
        .bind(order.payment_id)
        .bind(order.amount.units())
        .bind(placed_at)
        .execute(connection)
        .await
        .map(drop)
}

/// Finds orders that the keys of these requests made before.
pub(super) async fn earlier<'a>(
    connection: &mut SqliteConnection,
    requests: impl Iterator<Item = &'a Request>,
) -> sqlx::Result<Earlier> {
    let mut earlier = Earlier::new();
    for request in requests {
        if let Some(order) = by_key(connection, request.account, &request.key).await? {
            earlier.insert((request.account, request.key.clone()), order);
        }
    }
    Ok(earlier)
}

/// Finds the order that a key made.
pub(super) async fn by_key(
    connection: &mut SqliteConnection,
    account: AccountId,
    key: &IdempotencyKey,
) -> sqlx::Result<Option<Order>> {
    let query = sqlx::query(BY_KEY).bind(account.get()).bind(key.as_str());
    query.fetch_optional(connection).await?.as_ref().map(rows::order).transpose()
}

pub(super) struct ReadOrders<'a> {
    pub(super) ids: &'a [(AccountId, Uuid)],
}

impl Transaction<Sqlite> for ReadOrders<'_> {
    const NAME: &'static str = "read_orders";
    type Output = Vec<Option<Order>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut orders = Vec::with_capacity(self.ids.len());
        for (account, order_id) in self.ids {
            let query = sqlx::query(BY_ID).bind(account.get()).bind(order_id);
            let row = query.fetch_optional(&mut *connection).await?;
            orders.push(row.as_ref().map(rows::order).transpose()?);
        }
        Ok(orders)
    }
}

pub(super) struct ListOrders<'a> {
    pub(super) pages: &'a [(AccountId, Option<Uuid>, usize)],
}

impl Transaction<Sqlite> for ListOrders<'_> {
    const NAME: &'static str = "list_orders";
    type Output = Vec<Vec<Order>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut lists = Vec::with_capacity(self.pages.len());
        for (account, before, limit) in self.pages {
            let query = sqlx::query(LIST).bind(account.get()).bind(before).bind(*limit as i64);
            let found = query.fetch_all(&mut *connection).await?;
            lists.push(found.iter().map(rows::order).collect::<sqlx::Result<_>>()?);
        }
        Ok(lists)
    }
}

pub(super) struct Cancel<'a> {
    pub(super) orders: &'a [(AccountId, Uuid)],
    pub(super) lease: Duration,
}

impl Transaction<Sqlite> for Cancel<'_> {
    const NAME: &'static str = "cancel";
    type Output = Vec<Option<Cancelled>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut cancelled = Vec::with_capacity(self.orders.len());
        for (account, order_id) in self.orders {
            cancelled.push(cancel(connection, *account, *order_id, self.lease).await?);
        }
        Ok(cancelled)
    }
}

async fn cancel(
    connection: &mut SqliteConnection,
    account: AccountId,
    order_id: Uuid,
    lease: Duration,
) -> sqlx::Result<Option<Cancelled>> {
    let query = sqlx::query(BY_ID).bind(account.get()).bind(order_id);
    let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let mut order = rows::order(&row)?;
    let Some(notice) = order.cancel() else {
        return Ok(Some(Cancelled { order, notice: None }));
    };
    for statement in [CANCEL_ORDER, REFUND_PAYMENT] {
        let query = sqlx::query(statement).bind(account.get()).bind(order_id);
        query.execute(&mut *connection).await?;
    }
    for line in order.basket.lines() {
        let query = sqlx::query(RETURN_STOCK).bind(line.product_id.get()).bind(line.quantity);
        query.execute(&mut *connection).await?;
    }
    let due = rows::now(connection).await? + rows::micros(lease);
    outbox::insert(connection, std::iter::once(&notice), due).await?;
    Ok(Some(Cancelled { order, notice: Some(notice) }))
}
