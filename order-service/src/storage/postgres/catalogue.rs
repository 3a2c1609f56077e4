//! The catalogue.

use std::collections::BTreeMap;

use database::Postgres;
use proto::{
    Currency,
    id::{Actor, ProductId},
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::rows;
use crate::{
    order::catalog::{Adjustment, Product},
    storage::tables::Catalogue,
};

const PUT: &str = "
    INSERT INTO products AS p (product_id, name, price, stock, supplied, currency)
    VALUES ($1, $2, $3, $4, $4, $5)
    ON CONFLICT (product_id) DO UPDATE
    SET name = excluded.name, price = excluded.price, stock = excluded.stock,
        supplied = p.supplied + excluded.stock - p.stock, currency = excluded.currency";

const READ: &str =
    "SELECT product_id, name, price, currency, stock FROM products WHERE product_id = ANY($1)";

const LIST: &str = "
    SELECT product_id, name, price, currency, stock FROM products
    WHERE $1::bigint IS NULL OR product_id > $1 ORDER BY product_id LIMIT $2";

const LOCK_PRODUCTS: &str =
    "SELECT FROM products WHERE product_id = ANY($1) ORDER BY product_id FOR NO KEY UPDATE";

const RETURN_STOCK: &str = "
    UPDATE products AS p SET stock = p.stock + c.quantity
    FROM UNNEST($1::bigint[], $2::bigint[]) AS c (product_id, quantity)
    WHERE p.product_id = c.product_id";

const ADJUSTED_BEFORE: &str =
    "SELECT delta FROM stock_adjustments WHERE product_id = $1 AND adjustment_id = $2";

const ADJUST: &str = "
    WITH remembered AS (
        INSERT INTO stock_adjustments (product_id, adjustment_id, delta, adjusted_by) VALUES ($1, $2, $3, $5)
    )
    UPDATE products SET stock = $4, supplied = supplied + $3 WHERE product_id = $1";

impl Catalogue for Postgres {
    async fn put_product(connection: &mut PgConnection, product: &Product) -> sqlx::Result<()> {
        sqlx::query(PUT)
            .bind(product.product_id.get())
            .bind(&product.name)
            .bind(product.price.decimal())
            .bind(product.stock)
            .bind(product.currency.code())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn products(
        connection: &mut PgConnection,
        ids: &[ProductId],
        default: Currency,
    ) -> sqlx::Result<Vec<Product>> {
        let ids: Vec<_> = ids.iter().map(|id| id.get()).collect();
        products(&sqlx::query(READ).bind(ids).fetch_all(connection).await?, default)
    }

    async fn page_of_products(
        connection: &mut PgConnection,
        after: Option<ProductId>,
        limit: usize,
        default: Currency,
    ) -> sqlx::Result<Vec<Product>> {
        let query = sqlx::query(LIST).bind(after.map(ProductId::get)).bind(limit as i64);
        products(&query.fetch_all(connection).await?, default)
    }

    async fn lock_products(connection: &mut PgConnection, ids: &[ProductId]) -> sqlx::Result<()> {
        let ids: Vec<_> = ids.iter().map(|id| id.get()).collect();
        sqlx::query(LOCK_PRODUCTS).bind(ids).execute(connection).await.map(drop)
    }

    async fn return_stock(
        connection: &mut PgConnection,
        pieces: &BTreeMap<ProductId, i64>,
    ) -> sqlx::Result<()> {
        sqlx::query(RETURN_STOCK)
            .bind(pieces.keys().map(|product| product.get()).collect::<Vec<_>>())
            .bind(pieces.values().copied().collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn adjusted_before(
        connection: &mut PgConnection,
        Adjustment { product_id, adjustment_id, .. }: &Adjustment,
    ) -> sqlx::Result<Option<i64>> {
        let query =
            sqlx::query(ADJUSTED_BEFORE).bind(product_id.get()).bind(adjustment_id.as_str());
        let before = query.fetch_optional(connection).await?;
        before.map(|row| row.try_get("delta")).transpose()
    }

    async fn write_adjustment(
        connection: &mut PgConnection,
        Adjustment { product_id, adjustment_id, delta, by }: &Adjustment,
        stock: i64,
    ) -> sqlx::Result<()> {
        sqlx::query(ADJUST)
            .bind(product_id.get())
            .bind(adjustment_id.as_str())
            .bind(delta)
            .bind(stock)
            .bind(by.as_ref().map(Actor::as_str))
            .execute(connection)
            .await
            .map(drop)
    }
}

fn products(rows: &[PgRow], default: Currency) -> sqlx::Result<Vec<Product>> {
    rows.iter().map(|row| rows::product(row, default)).collect()
}
