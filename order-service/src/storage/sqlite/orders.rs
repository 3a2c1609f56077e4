//! Orders and payments: written by settling, read, listed, cancelled.

use std::time::Duration;

use database::{Sqlite, Transaction};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use serde_json::json;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::{
    outbox,
    rows::{self, Micros},
};
use crate::{
    order::{Order, decision::Earlier, request::Request},
    storage::{Cancelled, Cursor, OrdersPage},
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

const BY_KEYS: &str = "
    SELECT o.*, p.payment_id
    FROM json_each(?1) AS c
    CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.idempotency_key = c.value ->> 1
    CROSS JOIN payments AS p USING (account_id, order_id)";

const BY_ID: &str = "
    SELECT o.*, p.payment_id FROM orders AS o JOIN payments AS p USING (account_id, order_id)
    WHERE o.account_id = ?1 AND o.order_id = ?2";

/// A page is one range of the index by age, from its bound on.
const LIST: &str = "
    SELECT o.*, p.payment_id FROM orders AS o CROSS JOIN payments AS p USING (account_id, order_id)
    WHERE o.account_id = ?1 AND (o.created_at, o.order_id) < (?2, ?3)
    ORDER BY o.created_at DESC, o.order_id DESC LIMIT ?4";

const PLACED_AT: &str = "SELECT created_at FROM orders WHERE account_id = ?1 AND order_id = ?2";

const CANCEL_ORDER: &str =
    "UPDATE orders SET status = 'CANCELLED' WHERE account_id = ?1 AND order_id = ?2";

const REFUND_PAYMENT: &str =
    "UPDATE payments SET status = 'REFUNDED' WHERE account_id = ?1 AND order_id = ?2";

const RETURN_STOCK: &str = "UPDATE products SET stock = stock + ?2 WHERE product_id = ?1";

/// Writes new orders with their payments.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    orders: &[&Order],
) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
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

/// Finds orders that the keys of these requests made before.
pub(super) async fn earlier<'a>(
    connection: &mut SqliteConnection,
    requests: impl Iterator<Item = &'a Request>,
    default: Currency,
) -> sqlx::Result<Earlier> {
    let keys: Vec<_> = requests.map(|request| (request.account, &request.key)).collect();
    by_keys(connection, &keys, default).await
}

/// Finds the orders that these keys made. Nothing is asked about no keys.
pub(super) async fn by_keys(
    connection: &mut SqliteConnection,
    keys: &[(AccountId, &IdempotencyKey)],
    default: Currency,
) -> sqlx::Result<Earlier> {
    if keys.is_empty() {
        return Ok(Earlier::new());
    }
    let keys = keys.iter().map(|(account, key)| json!([account.get(), key.as_str()]));
    let found = sqlx::query(BY_KEYS).bind(rows::table(keys)).fetch_all(connection).await?;
    let order = |row| {
        let order = rows::order(row, default)?;
        Ok(((order.account, order.key.clone()), order))
    };
    found.iter().map(order).collect()
}

pub(super) struct ReadOrders<'a> {
    pub(super) ids: &'a [(AccountId, Uuid)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ReadOrders<'_> {
    const NAME: &'static str = "read_orders";
    type Output = Vec<Option<Order>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut orders = Vec::with_capacity(self.ids.len());
        for (account, order_id) in self.ids {
            let query = sqlx::query(BY_ID).bind(account.get()).bind(order_id);
            let row = query.fetch_optional(&mut *connection).await?;
            let order = |row| rows::order(row, self.default);
            orders.push(row.as_ref().map(order).transpose()?);
        }
        Ok(orders)
    }
}

pub(super) struct ListOrders<'a> {
    pub(super) pages: &'a [OrdersPage],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ListOrders<'_> {
    const NAME: &'static str = "list_orders";
    type Output = Vec<Vec<Order>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut lists = Vec::with_capacity(self.pages.len());
        for (account, after, limit) in self.pages {
            let Some((placed_at, order_id)) = bound(connection, *account, *after).await? else {
                lists.push(Vec::new());
                continue;
            };
            let query = sqlx::query(LIST).bind(account.get()).bind(placed_at).bind(order_id);
            let found = query.bind(*limit as i64).fetch_all(&mut *connection).await?;
            lists.push(
                found
                    .iter()
                    .map(|row| rows::order(row, self.default))
                    .collect::<sqlx::Result<_>>()?,
            );
        }
        Ok(lists)
    }
}

/// Where a page begins: before this time and id. `None`: after an order that is not there.
async fn bound(
    connection: &mut SqliteConnection,
    account: AccountId,
    after: Option<Cursor>,
) -> sqlx::Result<Option<(Micros, Uuid)>> {
    match after {
        None => Ok(Some((Micros::MAX, Uuid::max()))),
        Some(Cursor::Order { placed_at, order_id }) => {
            Ok(Some((rows::micros_of(placed_at), order_id)))
        }
        Some(Cursor::Id(order_id)) => {
            let query = sqlx::query(PLACED_AT).bind(account.get()).bind(order_id);
            let row = query.fetch_optional(connection).await?;
            row.map(|row| Ok((row.try_get("created_at")?, order_id))).transpose()
        }
    }
}

pub(super) struct Cancel<'a> {
    pub(super) orders: &'a [(AccountId, Uuid)],
    pub(super) lease: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for Cancel<'_> {
    const NAME: &'static str = "cancel";
    type Output = Vec<Option<Cancelled>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut cancelled = Vec::with_capacity(self.orders.len());
        for (account, order_id) in self.orders {
            cancelled.push(self.cancel(connection, *account, *order_id).await?);
        }
        Ok(cancelled)
    }
}

impl Cancel<'_> {
    async fn cancel(
        &self,
        connection: &mut SqliteConnection,
        account: AccountId,
        order_id: Uuid,
    ) -> sqlx::Result<Option<Cancelled>> {
        let query = sqlx::query(BY_ID).bind(account.get()).bind(order_id);
        let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
        let mut order = rows::order(&row, self.default)?;
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
        let due = rows::now(connection).await? + rows::micros(self.lease);
        outbox::insert(connection, &[&notice], due).await?;
        Ok(Some(Cancelled { order, notice: Some(notice) }))
    }
}
