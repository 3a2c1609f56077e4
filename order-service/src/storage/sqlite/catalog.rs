//! The catalogue.

use database::{Sqlite, Transaction};
use proto::{Currency, id::ProductId};
use sqlx::{Row, SqliteConnection};

use super::rows;
use crate::order::catalog::{self, Adjusted, Adjustment, Product};

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
    INSERT INTO stock_adjustments (product_id, adjustment_id, delta, created_at) VALUES (?1, ?2, ?3, ?4)";

const ADJUST: &str =
    "UPDATE products SET stock = stock + ?2, supplied = supplied + ?2 WHERE product_id = ?1";

pub(super) struct PutProducts<'a> {
    pub(super) products: &'a [Product],
}

impl Transaction<Sqlite> for PutProducts<'_> {
    const NAME: &'static str = "put_products";
    type Output = ();

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let mut products: Vec<_> = self.products.iter().collect();
        products.sort_by_key(|product| product.product_id);
        for product in products {
            sqlx::query(PUT)
                .bind(product.product_id.get())
                .bind(&product.name)
                .bind(product.price.units())
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

impl Transaction<Sqlite> for ReadProducts<'_> {
    const NAME: &'static str = "read_products";
    type Output = Vec<Option<Product>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut products = Vec::with_capacity(self.ids.len());
        for id in self.ids {
            products.push(read(connection, *id, self.default).await?);
        }
        Ok(products)
    }
}

pub(super) struct ListProducts<'a> {
    pub(super) pages: &'a [(Option<ProductId>, usize)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ListProducts<'_> {
    const NAME: &'static str = "list_products";
    type Output = Vec<Vec<Product>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
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

impl Transaction<Sqlite> for AdjustStock<'_> {
    const NAME: &'static str = "adjust_stock";
    type Output = Vec<Adjusted>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let mut adjusted = Vec::with_capacity(self.adjustments.len());
        for adjustment in self.adjustments {
            adjusted.push(adjust(connection, adjustment, self.default).await?);
        }
        Ok(adjusted)
    }
}

async fn adjust(
    connection: &mut SqliteConnection,
    adjustment: &Adjustment,
    default: Currency,
) -> sqlx::Result<Adjusted> {
    let Adjustment { product_id, adjustment_id, delta } = adjustment;
    let product = read(connection, *product_id, default).await?;
    let before = sqlx::query(ADJUSTED_BEFORE)
        .bind(product_id.get())
        .bind(adjustment_id.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    let before = before.map(|row| row.try_get("delta")).transpose()?;
    let adjusted = catalog::adjust(product, before, *delta);
    if let Adjusted::Done(_) = &adjusted {
        let now = rows::now(connection).await?;
        sqlx::query(REMEMBER)
            .bind(product_id.get())
            .bind(adjustment_id.as_str())
            .bind(delta)
            .bind(now)
            .execute(&mut *connection)
            .await?;
        sqlx::query(ADJUST).bind(product_id.get()).bind(delta).execute(connection).await?;
    }
    Ok(adjusted)
}

async fn read(
    connection: &mut SqliteConnection,
    id: ProductId,
    default: Currency,
) -> sqlx::Result<Option<Product>> {
    let row = sqlx::query(READ).bind(id.get()).fetch_optional(connection).await?;
    row.as_ref().map(|row| rows::product(row, default)).transpose()
}
