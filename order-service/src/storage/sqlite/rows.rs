//! Rows read back into what the core knows, and the clock.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proto::{
    Currency, Money,
    id::{AccountId, IdempotencyKey, ProductId},
};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    order::{
        Order,
        catalog::Product,
        key::{Claim, Decided, Home, KeyRow, KeyState, Outcome},
        request::{Basket, Digest, Request},
    },
    storage::order_state::OrderState,
};

/// Microseconds since 1970, UTC.
pub(super) type Micros = i64;

/// Reports a stored value that cannot be ours.
pub(super) fn odd(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

/// Rows for SQLite's `json_each`: an array of arrays. A statement is a hop to sqlx's thread, a row of it is not.
pub(super) fn table(rows: impl Iterator<Item = Value>) -> String {
    Value::Array(rows.collect()).to_string()
}

/// An id among such rows, for `unhex`: JSON knows no bytes.
pub(super) fn id(id: Uuid) -> String {
    id.simple().to_string()
}

/// Products as an array for `json_each`.
pub(super) fn products(products: &BTreeSet<ProductId>) -> String {
    let ids: Vec<_> = products.iter().map(|product| product.get()).collect();
    json!(ids).to_string()
}

/// The database's clock.
pub(super) async fn now(connection: &mut SqliteConnection) -> sqlx::Result<Micros> {
    let clock = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now";
    sqlx::query(clock).fetch_one(connection).await?.try_get("now")
}

pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

pub(super) fn time(micros: Micros) -> sqlx::Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).map_err(odd)
}

pub(super) fn micros_of(time: OffsetDateTime) -> Micros {
    Micros::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(Micros::MAX)
}

pub(super) fn money(row: &SqliteRow, column: &str) -> sqlx::Result<Money> {
    Money::from_units(row.try_get(column)?).map_err(odd)
}

/// A row from before there were currencies has none.
pub(super) fn currency(row: &SqliteRow, default: Currency) -> sqlx::Result<Currency> {
    let code: Option<&str> = row.try_get("currency")?;
    code.map_or(Ok(default), |code| code.parse().map_err(odd))
}

pub(super) fn account(row: &SqliteRow) -> sqlx::Result<AccountId> {
    AccountId::new(row.try_get("account_id")?).map_err(odd)
}

pub(super) fn product_id(row: &SqliteRow) -> sqlx::Result<ProductId> {
    ProductId::new(row.try_get("product_id")?).map_err(odd)
}

fn key(row: &SqliteRow) -> sqlx::Result<IdempotencyKey> {
    IdempotencyKey::new(row.try_get::<String, _>("idempotency_key")?).map_err(odd)
}

/// Columns: all of idempotency_keys.
pub(super) fn key_row(row: &SqliteRow, now: Micros, default: Currency) -> sqlx::Result<KeyRow> {
    let basket = Basket::from_json(row.try_get("request")?).map_err(odd)?;
    let currency = currency(row, default)?;
    let request = Request::stored(account(row)?, key(row)?, basket, currency);
    let created_at = time(row.try_get("created_at")?)?;
    let claim = Claim {
        request: Arc::new(request),
        order_id: row.try_get("order_id")?,
        amount: money(row, "amount")?,
        currency,
        fence: row.try_get("fence")?,
        home: Home::Keys(created_at.date()),
    };
    let state = match row.try_get::<Option<&str>, _>("response")? {
        None => KeyState::Running { lease_over: row.try_get::<Micros, _>("lease_until")? <= now },
        Some(response) => KeyState::Decided(Decided {
            outcome: Outcome::from_json(response).map_err(odd)?,
            at: time(row.try_get("decided_at")?)?,
        }),
    };
    let digest = Digest::from_bytes(row.try_get("digest")?).ok_or_else(|| odd("digest"))?;
    Ok(KeyRow { claim, digest, state, created_at })
}

/// Columns: those of orders, `payment_id`, and `lease_over`.
pub(super) fn key_row_in_orders(row: &SqliteRow, default: Currency) -> sqlx::Result<KeyRow> {
    let basket = Basket::from_json(row.try_get("basket")?).map_err(odd)?;
    let currency = currency(row, default)?;
    let request = Request::stored(account(row)?, key(row)?, basket, currency);
    let created_at = time(row.try_get("created_at")?)?;
    let digest = request.digest();
    let claim = Claim {
        request: Arc::new(request),
        order_id: row.try_get("order_id")?,
        amount: money(row, "amount")?,
        currency,
        fence: row.try_get("fence")?,
        home: Home::Orders { claimed_at: created_at, batch: row.try_get("batch")? },
    };
    let state = OrderState {
        status: row.try_get("status")?,
        outcome: row.try_get("outcome")?,
        payment_id: row.try_get("payment_id")?,
        lease_over: row.try_get("lease_over")?,
        claimed_at: created_at,
    };
    let state = state.read().map_err(odd)?;
    Ok(KeyRow { claim, digest, state, created_at })
}

/// Columns: all of orders, and `payment_id`.
pub(super) fn order(row: &SqliteRow, default: Currency) -> sqlx::Result<Order> {
    Ok(Order {
        order_id: row.try_get("order_id")?,
        account: account(row)?,
        key: key(row)?,
        amount: money(row, "amount")?,
        currency: currency(row, default)?,
        basket: Basket::from_json(row.try_get("basket")?).map_err(odd)?,
        cancelled: row.try_get::<&str, _>("status")? == "CANCELLED",
        payment_id: row.try_get("payment_id")?,
        placed_at: time(row.try_get("created_at")?)?,
    })
}

/// Columns: product_id, name, price, currency, stock.
pub(super) fn product(row: &SqliteRow, default: Currency) -> sqlx::Result<Product> {
    Ok(Product {
        product_id: product_id(row)?,
        name: row.try_get("name")?,
        price: money(row, "price")?,
        currency: currency(row, default)?,
        stock: row.try_get("stock")?,
    })
}
