//! The catalogue.

use std::collections::HashMap;

use database::{Postgres, Transaction};
use proto::id::ProductId;
use sqlx::{PgConnection, Row};

use super::rows;
use crate::order::catalog::{self, Adjusted, Adjustment, Product};

const PUT: &str = "
    INSERT INTO products AS p (product_id, name, price, stock, supplied) VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (product_id) DO UPDATE
    SET name = excluded.name, price = excluded.price, stock = excluded.stock,
        supplied = p.supplied + excluded.stock - p.stock";

const READ: &str = "SELECT product_id, name, price, stock FROM products WHERE product_id = ANY($1)";

const LIST: &str = "
    SELECT product_id, name, price, stock FROM products
    WHERE $1::bigint IS NULL OR product_id > $1 ORDER BY product_id LIMIT $2";

const LOCK: &str =
    "SELECT product_id, name, price, stock FROM products WHERE product_id = $1 FOR NO KEY UPDATE";

const ADJUSTED_BEFORE: &str =
    "SELECT delta FROM stock_adjustments WHERE product_id = $1 AND adjustment_id = $2";

const ADJUST: &str = "
    WITH remembered AS (
        INSERT INTO stock_adjustments (product_id, adjustment_id, delta) VALUES ($1, $2, $3)
    )
    UPDATE products SET stock = $4, supplied = supplied + $3 WHERE product_id = $1";

pub(super) struct PutProduct<'a> {
    pub(super) product: &'a Product,
}

impl Transaction<Postgres> for PutProduct<'_> {
    const NAME: &'static str = "put_product";
    type Output = ();

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query(PUT)
            .bind(self.product.product_id.get())
            .bind(&self.product.name)
            .bind(self.product.price.decimal())
            .bind(self.product.stock)
            .execute(connection)
            .await
            .map(drop)
    }
}

pub(super) struct ReadProducts<'a> {
    pub(super) ids: &'a [ProductId],
}

impl Transaction<Postgres> for ReadProducts<'_> {
    const NAME: &'static str = "read_products";
    type Output = HashMap<ProductId, Product>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let ids: Vec<_> = self.ids.iter().map(|id| id.get()).collect();
        let found = sqlx::query(READ).bind(ids).fetch_all(connection).await?;
        found.iter().map(|row| rows::product(row).map(|p| (p.product_id, p))).collect()
    }
}

pub(super) struct ListProducts {
    pub(super) after: Option<ProductId>,
    pub(super) limit: usize,
}

impl Transaction<Postgres> for ListProducts {
    const NAME: &'static str = "list_products";
    type Output = Vec<Product>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let found = sqlx::query(LIST)
            .bind(self.after.map(ProductId::get))
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        found.iter().map(rows::product).collect()
    }
}

pub(super) struct Adjust<'a> {
    pub(super) adjustment: &'a Adjustment,
}

impl Transaction<Postgres> for Adjust<'_> {
    const NAME: &'static str = "adjust_stock";
    type Output = Adjusted;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Adjusted> {
        let Adjustment { product_id, adjustment_id, delta } = self.adjustment;
        let row = sqlx::query(LOCK).bind(product_id.get()).fetch_optional(&mut *connection).await?;
        let product = row.as_ref().map(rows::product).transpose()?;
        let before = sqlx::query(ADJUSTED_BEFORE)
            .bind(product_id.get())
            .bind(adjustment_id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let before = before.map(|row| row.try_get("delta")).transpose()?;
        let adjusted = catalog::adjust(product, before, *delta);
        if let Adjusted::Done(product) = &adjusted {
            sqlx::query(ADJUST)
                .bind(product_id.get())
                .bind(adjustment_id.as_str())
                .bind(delta)
                .bind(product.stock)
                .execute(connection)
                .await?;
        }
        Ok(adjusted)
    }
}
