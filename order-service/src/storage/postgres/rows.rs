//! Rows read back into what the core knows.
//!
//! A row that does not read back was not written by this service: it is reported as a decode error, which the session
//! classifies as a defect.

use std::sync::Arc;

use proto::{
    Currency, Money,
    id::{AccountId, IdempotencyKey, ProductId},
};
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow};
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

/// Reports a stored value that cannot be ours.
pub(super) fn odd(problem: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(problem.into())
}

/// A claim whose fence holds. Columns: order_id, fence.
pub(super) fn held(row: &PgRow) -> sqlx::Result<(Uuid, i32)> {
    Ok((row.try_get("order_id")?, row.try_get("fence")?))
}

pub(super) fn money(row: &PgRow, column: &str) -> sqlx::Result<Money> {
    Money::from_decimal(row.try_get::<Decimal, _>(column)?).map_err(odd)
}

/// A row from before there were currencies has none.
pub(super) fn currency(row: &PgRow, default: Currency) -> sqlx::Result<Currency> {
    let code: Option<&str> = row.try_get("currency")?;
    code.map_or(Ok(default), |code| code.parse().map_err(odd))
}

pub(super) fn account(row: &PgRow) -> sqlx::Result<AccountId> {
    AccountId::new(row.try_get("account_id")?).map_err(odd)
}

pub(super) fn key(row: &PgRow) -> sqlx::Result<IdempotencyKey> {
    IdempotencyKey::new(row.try_get::<String, _>("idempotency_key")?).map_err(odd)
}

/// Columns: all of idempotency_keys, and `lease_over`.
pub(super) fn key_row(row: &PgRow, default: Currency) -> sqlx::Result<KeyRow> {
    let basket = Basket::from_json(row.try_get("request")?).map_err(odd)?;
    let currency = currency(row, default)?;
    let request = Request::stored(account(row)?, key(row)?, basket, currency);
    let claim = Claim {
        request: Arc::new(request),
        order_id: row.try_get("order_id")?,
        amount: money(row, "amount")?,
        currency,
        fence: row.try_get("fence")?,
        home: Home::Keys(row.try_get("day")?),
    };
    let state = match row.try_get::<Option<&str>, _>("response")? {
        None => KeyState::Running { lease_over: row.try_get("lease_over")? },
        Some(response) => KeyState::Decided(Decided {
            outcome: Outcome::from_json(response).map_err(odd)?,
            at: row.try_get("decided_at")?,
        }),
    };
    let digest = Digest::from_bytes(row.try_get("digest")?).ok_or_else(|| odd("digest"))?;
    Ok(KeyRow { claim, digest, state, created_at: row.try_get("created_at")? })
}

/// Columns: those of orders, `payment_id`, and `lease_over`.
pub(super) fn key_row_in_orders(row: &PgRow, default: Currency) -> sqlx::Result<KeyRow> {
    let basket = Basket::from_json(row.try_get("basket")?).map_err(odd)?;
    let currency = currency(row, default)?;
    let request = Request::stored(account(row)?, key(row)?, basket, currency);
    let created_at = row.try_get("created_at")?;
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
pub(super) fn order(row: &PgRow, default: Currency) -> sqlx::Result<Order> {
    Ok(Order {
        order_id: row.try_get("order_id")?,
        account: account(row)?,
        key: key(row)?,
        amount: money(row, "amount")?,
        currency: currency(row, default)?,
        basket: Basket::from_json(row.try_get("basket")?).map_err(odd)?,
        cancelled: row.try_get::<&str, _>("status")? == "CANCELLED",
        payment_id: row.try_get("payment_id")?,
        placed_at: row.try_get("created_at")?,
    })
}

/// Columns: product_id, name, price, currency, stock.
pub(super) fn product(row: &PgRow, default: Currency) -> sqlx::Result<Product> {
    Ok(Product {
        product_id: ProductId::new(row.try_get("product_id")?).map_err(odd)?,
        name: row.try_get("name")?,
        price: money(row, "price")?,
        currency: currency(row, default)?,
        stock: row.try_get("stock")?,
    })
}
