//! The steps on orders, their payments, and the catalogue.

use std::collections::BTreeMap;

use database::Backend;
use proto::{
    Currency,
    id::{AccountId, Actor, IdempotencyKey, ProductId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::order::{
    Order,
    catalog::{Adjustment, Product},
    decision::Earlier,
};

/// Orders and their payments.
pub trait Orders: Backend {
    /// Writes new orders with their payments.
    fn insert_orders(
        connection: &mut Self::Connection,
        orders: &[&Order],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Finds the orders that these keys made.
    fn orders_of_keys(
        connection: &mut Self::Connection,
        keys: &[(AccountId, &IdempotencyKey)],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Earlier>> + Send;

    /// Reads orders, those that there are.
    fn orders(
        connection: &mut Self::Connection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Order>>> + Send;

    /// Reads orders as [`Orders::orders`] does, and keeps other transactions from changing them.
    fn lock_orders(
        connection: &mut Self::Connection,
        ids: &[(AccountId, Uuid)],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Order>>> + Send;

    /// Marks orders as cancelled, each by its caller, and their payments as refunded.
    fn write_cancelled(
        connection: &mut Self::Connection,
        orders: &[(&Order, Option<&Actor>)],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// When an order was placed, if there is one.
    fn placed_at(
        connection: &mut Self::Connection,
        account: AccountId,
        order_id: Uuid,
    ) -> impl Future<Output = sqlx::Result<Option<OffsetDateTime>>> + Send;

    /// Reads orders of an account, newest first: those before a time and id.
    fn page_of_orders(
        connection: &mut Self::Connection,
        account: AccountId,
        before: (OffsetDateTime, Uuid),
        limit: usize,
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Order>>> + Send;
}

/// Products and their stock.
pub trait Catalogue: Backend {
    /// Creates or sets a product.
    fn put_product(
        connection: &mut Self::Connection,
        product: &Product,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads products, those that there are.
    fn products(
        connection: &mut Self::Connection,
        ids: &[ProductId],
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Product>>> + Send;

    /// Reads products after one, in id order.
    fn page_of_products(
        connection: &mut Self::Connection,
        after: Option<ProductId>,
        limit: usize,
        default: Currency,
    ) -> impl Future<Output = sqlx::Result<Vec<Product>>> + Send;

    /// Locks products, in product order as deciding does, so that no two transactions wait for each other in a circle.
    fn lock_products(
        connection: &mut Self::Connection,
        ids: &[ProductId],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Adds pieces to the stock of locked products.
    fn return_stock(
        connection: &mut Self::Connection,
        pieces: &BTreeMap<ProductId, i64>,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// By how many pieces an adjustment changed the stock, if it was made before.
    fn adjusted_before(
        connection: &mut Self::Connection,
        adjustment: &Adjustment,
    ) -> impl Future<Output = sqlx::Result<Option<i64>>> + Send;

    /// Writes an adjustment, and the stock that it leaves.
    fn write_adjustment(
        connection: &mut Self::Connection,
        adjustment: &Adjustment,
        stock: i64,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}
