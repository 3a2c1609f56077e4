//! Orders and payments: written by settling, read, listed, cancelled.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use database::{Postgres, Transaction};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{catalog::LOCK_PRODUCTS, outbox, rows};
use crate::{
    order::{Order, decision::Earlier, request::Request},
    storage::{Cancelled, Cursor, OrdersPage, found::Found},
};

const INSERT_ORDERS: &str = "
    INSERT INTO orders (account_id, order_id, idempotency_key, amount, basket, currency, status, created_at)
    SELECT c.*, 'PLACED', now()
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[], $5::text[], $6::text[]) AS c";

const INSERT_PAYMENTS: &str = "
    INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
    SELECT c.*, 'COMPLETED', now()
    FROM UNNEST($1::bigint[], $2::uuid[], $3::uuid[], $4::numeric[]) AS c";

const BY_KEY: &str = "
    SELECT o.*, p.payment_id
    FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
    JOIN orders AS o USING (account_id, idempotency_key)
    JOIN payments AS p USING (account_id, order_id)";

const BY_ID: &str = "
    SELECT o.*, p.payment_id
    FROM UNNEST($1::bigint[], $2::uuid[]) AS c (account_id, order_id)
    JOIN orders AS o USING (account_id, order_id)
    JOIN payments AS p USING (account_id, order_id)";

/// A page is one range of the index by age (see `indexes.rs` for the sum), from its bound on; the payments are looked up one
/// by one.
const LIST: &str = "
    SELECT o.*, (
        SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
    ) AS payment_id
    FROM orders AS o
    WHERE o.account_id + 0 = $1 AND (o.created_at, o.order_id) < ($2, $3)
    ORDER BY o.created_at DESC, o.order_id DESC
    LIMIT $4";

const PLACED_AT: &str = "SELECT created_at FROM orders WHERE account_id = $1 AND order_id = $2";

/// After every order: where the first page begins.
const END_OF_TIME: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);

const LOCK: &str = "
    SELECT o.*, p.payment_id
    FROM UNNEST($1::bigint[], $2::uuid[]) AS c (account_id, order_id)
    JOIN orders AS o USING (account_id, order_id)
    JOIN payments AS p USING (account_id, order_id)
    ORDER BY o.account_id, o.order_id
    FOR NO KEY UPDATE OF o";

const CANCEL: &str = "
    WITH cancelled AS (SELECT * FROM UNNEST($1::bigint[], $2::uuid[]) AS c (account_id, order_id)),
    refunded AS (
        UPDATE payments AS p SET status = 'REFUNDED' FROM cancelled AS c
        WHERE p.account_id = c.account_id AND p.order_id = c.order_id
    )
    UPDATE orders AS o SET status = 'CANCELLED' FROM cancelled AS c
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id";

const RETURN_STOCK: &str = "
    UPDATE products AS p SET stock = p.stock + c.quantity
    FROM UNNEST($1::bigint[], $2::bigint[]) AS c (product_id, quantity)
    WHERE p.product_id = c.product_id";

/// Writes new orders with their payments.
pub(super) async fn insert(connection: &mut PgConnection, orders: &[&Order]) -> sqlx::Result<()> {
    if orders.is_empty() {
        return Ok(());
    }
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

/// Finds orders that the keys of these requests made before.
pub(super) async fn earlier<'a>(
    connection: &mut PgConnection,
    requests: impl Iterator<Item = &'a Request> + Clone,
    default: Currency,
) -> sqlx::Result<Earlier> {
    by_keys(connection, requests.map(|request| (request.account, &request.key)), default).await
}

/// Finds the orders that these keys made. Nothing is asked about no keys.
pub(super) async fn by_keys<'a>(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = (AccountId, &'a IdempotencyKey)> + Clone,
    default: Currency,
) -> sqlx::Result<Earlier> {
    if keys.clone().next().is_none() {
        return Ok(Earlier::new());
    }
    let found = sqlx::query(BY_KEY)
        .bind(keys.clone().map(|(account, _)| account.get()).collect::<Vec<_>>())
        .bind(keys.map(|(_, key)| key.as_str()).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
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

impl Transaction<Postgres> for ReadOrders<'_> {
    const NAME: &'static str = "read_orders";
    type Output = Vec<Option<Order>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let found = sqlx::query(BY_ID)
            .bind(self.ids.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(self.ids.iter().map(|(_, order_id)| *order_id).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let named = |row| {
            rows::order(row, self.default).map(|order| ((order.account, order.order_id), order))
        };
        let found = found.iter().map(named).collect::<sqlx::Result<Found<_, _>>>()?;
        Ok(found.answers(self.ids))
    }
}

pub(super) struct ListOrders<'a> {
    pub(super) pages: &'a [OrdersPage],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ListOrders<'_> {
    const NAME: &'static str = "list_orders";
    type Output = Vec<Vec<Order>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
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
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<Cursor>,
) -> sqlx::Result<Option<(OffsetDateTime, Uuid)>> {
    match after {
        None => Ok(Some((END_OF_TIME, Uuid::max()))),
        Some(Cursor::Order { placed_at, order_id }) => Ok(Some((placed_at, order_id))),
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

impl Transaction<Postgres> for Cancel<'_> {
    const NAME: &'static str = "cancel";
    type Output = Vec<Option<Cancelled>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let mut found = lock(connection, self.orders, self.default).await?;
        let cancelled: Vec<_> = self
            .orders
            .iter()
            .map(|id| {
                let order = found.get_mut(id)?;
                let notice = order.cancel();
                Some(Cancelled { order: order.clone(), notice })
            })
            .collect();
        let now = cancelled.iter().flatten().filter(|cancelled| cancelled.notice.is_some());
        let orders: Vec<_> = now.clone().map(|cancelled| &cancelled.order).collect();
        write_cancelled(connection, &orders).await?;
        return_stock(connection, &orders).await?;
        let notices: Vec<_> = now.filter_map(|cancelled| cancelled.notice.as_ref()).collect();
        outbox::insert(connection, &notices, self.lease).await?;
        Ok(cancelled)
    }
}

async fn lock(
    connection: &mut PgConnection,
    ids: &[(AccountId, Uuid)],
    default: Currency,
) -> sqlx::Result<HashMap<(AccountId, Uuid), Order>> {
    let locked = sqlx::query(LOCK)
        .bind(ids.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
        .bind(ids.iter().map(|(_, order_id)| *order_id).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    by_id(&locked, default)
}

fn by_id(rows: &[PgRow], default: Currency) -> sqlx::Result<HashMap<(AccountId, Uuid), Order>> {
    let order = |row| {
        let order = rows::order(row, default)?;
        Ok(((order.account, order.order_id), order))
    };
    rows.iter().map(order).collect()
}

async fn write_cancelled(connection: &mut PgConnection, orders: &[&Order]) -> sqlx::Result<()> {
    sqlx::query(CANCEL)
        .bind(orders.iter().map(|order| order.account.get()).collect::<Vec<_>>())
        .bind(orders.iter().map(|order| order.order_id).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

/// Locks all products concerned in product order, as settling does, and gives back what the orders took.
async fn return_stock(connection: &mut PgConnection, orders: &[&Order]) -> sqlx::Result<()> {
    let mut returned = BTreeMap::<i64, i64>::new();
    for line in orders.iter().flat_map(|order| order.basket.lines()) {
        *returned.entry(line.product_id.get()).or_default() += line.quantity;
    }
    if returned.is_empty() {
        return Ok(());
    }
    let (products, pieces): (Vec<_>, Vec<_>) = returned.into_iter().unzip();
    sqlx::query(LOCK_PRODUCTS).bind(&products).execute(&mut *connection).await?;
    sqlx::query(RETURN_STOCK).bind(&products).bind(pieces).execute(connection).await.map(drop)
}
