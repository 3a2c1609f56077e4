//! The catalogue.

use std::collections::BTreeMap;

use database::Sqlite;
use proto::{
    Currency,
    id::{Actor, ProductId},
};
use sqlx::{Row, SqliteConnection};

use super::rows;
use crate::{
    order::catalog::{Adjustment, Product},
    storage::tables::Catalogue,
};

const PUT: &str = "
    INSERT INTO products (product_id, name, price, stock, supplied, currency)
    VALUES (?1, ?2, ?3, ?4, ?4, ?5)
    ON CONFLICT (product_id) DO UPDATE
    SET name = excluded.name, price = excluded.price, stock = excluded.stock,
        supplied = supplied + excluded.stock - stock, currency = excluded.currency";

const READ: &str =
    "SELECT product_id, name, price, currency, stock FROM products WHERE product_id = ?1";

const LIST: &str = "
    SELECT product_id, name, price, currency, stock FROM products
    WHERE ?1 IS NULL OR product_id > ?1 ORDER BY product_id LIMIT ?2";

const ADJUSTED_BEFORE: &str =
    "SELECT delta FROM stock_adjustments WHERE product_id = ?1 AND adjustment_id = ?2";

const REMEMBER: &str = "
    INSERT INTO stock_adjustments (product_id, adjustment_id, delta, created_at, adjusted_by)
    VALUES (?1, ?2, ?3, ?4, ?5)";

const ADJUST: &str =
    "UPDATE products SET stock = ?3, supplied = supplied + ?2 WHERE product_id = ?1";

const RETURN_STOCK: &str = "UPDATE products SET stock = stock + ?2 WHERE product_id = ?1";

impl Catalogue for Sqlite {
    async fn put_product(connection: &mut SqliteConnection, product: &Product) -> sqlx::Result<()> {
        sqlx::query(PUT)
            .bind(product.product_id.get())
            .bind(&product.name)
            .bind(product.price.units())
            .bind(product.stock)
            .bind(product.currency.code())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn products(
        connection: &mut SqliteConnection,
        ids: &[ProductId],
        default: Currency,
    ) -> sqlx::Result<Vec<Product>> {
        let mut products = Vec::with_capacity(ids.len());
        for id in ids {
            let query = sqlx::query(READ).bind(id.get());
            if let Some(row) = query.fetch_optional(&mut *connection).await? {
                products.push(rows::product(&row, default)?);
            }
        }
        Ok(products)
    }

    async fn page_of_products(
        connection: &mut SqliteConnection,
        after: Option<ProductId>,
        limit: usize,
        default: Currency,
    ) -> sqlx::Result<Vec<Product>> {
        let query = sqlx::query(LIST).bind(after.map(ProductId::get)).bind(limit as i64);
        let found = query.fetch_all(connection).await?;
        found.iter().map(|row| rows::product(row, default)).collect()
    }

    async fn lock_products(_: &mut SqliteConnection, _: &[ProductId]) -> sqlx::Result<()> {
        Ok(())
    }

    async fn return_stock(
        connection: &mut SqliteConnection,
        pieces: &BTreeMap<ProductId, i64>,
    ) -> sqlx::Result<()> {
        for (product, pieces) in pieces {
            let query = sqlx::query(RETURN_STOCK).bind(product.get()).bind(pieces);
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn adjusted_before(
        connection: &mut SqliteConnection,
        Adjustment { product_id, adjustment_id, .. }: &Adjustment,
    ) -> sqlx::Result<Option<i64>> {
        let query =
            sqlx::query(ADJUSTED_BEFORE).bind(product_id.get()).bind(adjustment_id.as_str());
        let before = query.fetch_optional(connection).await?;
        before.map(|row| row.try_get("delta")).transpose()
    }

    async fn write_adjustment(
        connection: &mut SqliteConnection,
        Adjustment { product_id, adjustment_id, delta, by }: &Adjustment,
        stock: i64,
    ) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        sqlx::query(REMEMBER)
            .bind(product_id.get())
            .bind(adjustment_id.as_str())
            .bind(delta)
            .bind(now)
            .bind(by.as_ref().map(Actor::as_str))
            .execute(&mut *connection)
            .await?;
        let query = sqlx::query(ADJUST).bind(product_id.get()).bind(delta).bind(stock);
        query.execute(connection).await.map(drop)
    }
}
