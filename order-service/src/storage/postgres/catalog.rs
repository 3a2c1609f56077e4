//! The catalogue.

use database::{Postgres, Transaction};
use proto::{Currency, id::ProductId};
use sqlx::{PgConnection, Row};

use super::rows;
use crate::{
    order::catalog::{self, Adjusted, Adjustment, Product},
    storage::found::Found,
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

const READ_ONE: &str =
    "SELECT product_id, name, price, currency, stock FROM products WHERE product_id = $1";

/// Locks products, in product order as settling does, so that no two transactions wait for each other in a circle.
pub(super) const LOCK_PRODUCTS: &str =
    "SELECT FROM products WHERE product_id = ANY($1) ORDER BY product_id FOR NO KEY UPDATE";

const ADJUSTED_BEFORE: &str =
    "SELECT delta FROM stock_adjustments WHERE product_id = $1 AND adjustment_id = $2";

const ADJUST: &str = "
    WITH remembered AS (
        INSERT INTO stock_adjustments (product_id, adjustment_id, delta) VALUES ($1, $2, $3)
    )
    UPDATE products SET stock = $4, supplied = supplied + $3 WHERE product_id = $1";

pub(super) struct PutProducts<'a> {
    pub(super) products: &'a [Product],
}

impl Transaction<Postgres> for PutProducts<'_> {
    const NAME: &'static str = "put_products";
    type Output = ();

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let mut products: Vec<_> = self.products.iter().collect();
        products.sort_by_key(|product| product.product_id);
        for product in products {
            sqlx::query(PUT)
                .bind(product.product_id.get())
                .bind(&product.name)
                .bind(product.price.decimal())
                .bind(product.stock)
                .bind(product.currency.code())
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

pub(super) struct ReadProducts<'a> {
    pub(super) ids: &'a [ProductId],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ReadProducts<'_> {
    const NAME: &'static str = "read_products";
    type Output = Vec<Option<Product>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let ids: Vec<_> = self.ids.iter().map(|id| id.get()).collect();
        let found = sqlx::query(READ).bind(ids).fetch_all(connection).await?;
        let product = |row| rows::product(row, self.default).map(|p| (p.product_id, p));
        let found = found.iter().map(product).collect::<sqlx::Result<Found<_, _>>>()?;
        Ok(found.answers(self.ids))
    }
}

pub(super) struct ListProducts<'a> {
    pub(super) pages: &'a [(Option<ProductId>, usize)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ListProducts<'_> {
    const NAME: &'static str = "list_products";
    type Output = Vec<Vec<Product>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let mut lists = Vec::with_capacity(self.pages.len());
        for (after, limit) in self.pages {
            let query = sqlx::query(LIST).bind(after.map(ProductId::get)).bind(*limit as i64);
            let found = query.fetch_all(&mut *connection).await?;
            let product = |row| rows::product(row, self.default);
            lists.push(found.iter().map(product).collect::<sqlx::Result<_>>()?);
        }
        Ok(lists)
    }
}

pub(super) struct AdjustStock<'a> {
    pub(super) adjustments: &'a [Adjustment],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for AdjustStock<'_> {
    const NAME: &'static str = "adjust_stock";
    type Output = Vec<Adjusted>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let products: Vec<_> = self.adjustments.iter().map(|a| a.product_id.get()).collect();
        sqlx::query(LOCK_PRODUCTS).bind(products).execute(&mut *connection).await?;
        let mut adjusted = Vec::with_capacity(self.adjustments.len());
        for adjustment in self.adjustments {
            adjusted.push(adjust(connection, adjustment, self.default).await?);
        }
        Ok(adjusted)
    }
}

async fn adjust(
    connection: &mut PgConnection,
    adjustment: &Adjustment,
    default: Currency,
) -> sqlx::Result<Adjusted> {
    let Adjustment { product_id, adjustment_id, delta } = adjustment;
    let row = sqlx::query(READ_ONE).bind(product_id.get()).fetch_optional(&mut *connection).await?;
    let product = row.as_ref().map(|row| rows::product(row, default)).transpose()?;
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
