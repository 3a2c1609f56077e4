//! The catalogue: products put, read, listed, and their stock adjusted.

use database::{StoreError, Transaction};
use proto::{Currency, id::ProductId};

use crate::{
    order::catalog::{self, Adjusted, Adjustment, Product},
    storage::{Store, Tables, found::Found},
};

struct PutProducts<'a> {
    products: &'a [Product],
}

struct ReadProducts<'a> {
    ids: &'a [ProductId],
    default: Currency,
}

struct ListProducts<'a> {
    pages: &'a [(Option<ProductId>, usize)],
    default: Currency,
}

struct AdjustStock<'a> {
    adjustments: &'a [Adjustment],
    default: Currency,
}

impl<B: Tables> Store<B> {
    /// Creates or sets products.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn put_products(&mut self, products: &[Product]) -> Result<(), StoreError> {
        self.session.transact(&mut PutProducts { products }).await
    }

    /// Reads products.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn products(
        &mut self,
        ids: &[ProductId],
    ) -> Result<Vec<Option<Product>>, StoreError> {
        self.session.read(&mut ReadProducts { ids, default: self.default }).await
    }

    /// Reads pages of the catalogue: after a product, at most so many; in id order.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn list_products(
        &mut self,
        pages: &[(Option<ProductId>, usize)],
    ) -> Result<Vec<Vec<Product>>, StoreError> {
        self.session.read(&mut ListProducts { pages, default: self.default }).await
    }

    /// Adjusts stock, each adjustment once.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn adjust_stock(
        &mut self,
        adjustments: &[Adjustment],
    ) -> Result<Vec<Adjusted>, StoreError> {
        self.session.transact(&mut AdjustStock { adjustments, default: self.default }).await
    }
}

impl<B: Tables> Transaction<B> for PutProducts<'_> {
    const NAME: &'static str = "put_products";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        let mut products: Vec<_> = self.products.iter().collect();
        // Rows are locked in product order, as everywhere.
        products.sort_by_key(|product| product.product_id);
        for product in products {
            B::put_product(connection, product).await?;
        }
        Ok(())
    }
}

impl<B: Tables> Transaction<B> for ReadProducts<'_> {
    const NAME: &'static str = "read_products";
    type Output = Vec<Option<Product>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let products = B::products(connection, self.ids, self.default).await?;
        let found: Found<_, _> = products.into_iter().map(|p| (p.product_id, p)).collect();
        Ok(found.answers(self.ids))
    }
}

impl<B: Tables> Transaction<B> for ListProducts<'_> {
    const NAME: &'static str = "list_products";
    type Output = Vec<Vec<Product>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let mut lists = Vec::with_capacity(self.pages.len());
        for (after, limit) in self.pages {
            lists.push(B::page_of_products(connection, *after, *limit, self.default).await?);
        }
        Ok(lists)
    }
}

impl<B: Tables> Transaction<B> for AdjustStock<'_> {
    const NAME: &'static str = "adjust_stock";
    type Output = Vec<Adjusted>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let products: Vec<_> = self.adjustments.iter().map(|a| a.product_id).collect();
        B::lock_products(connection, &products).await?;

        let mut adjusted = Vec::with_capacity(self.adjustments.len());
        // One after the other: an adjustment may come twice in a batch.
        for adjustment in self.adjustments {
            adjusted.push(adjust::<B>(connection, adjustment, self.default).await?);
        }
        Ok(adjusted)
    }
}

async fn adjust<B: Tables>(
    connection: &mut B::Connection,
    adjustment: &Adjustment,
    default: Currency,
) -> sqlx::Result<Adjusted> {
    let product = B::products(connection, &[adjustment.product_id], default).await?.pop();
    let before = B::adjusted_before(connection, adjustment).await?;
    let adjusted = catalog::adjust(product, before, adjustment.delta);
    if let Adjusted::Done(product) = &adjusted {
        B::write_adjustment(connection, adjustment, product.stock).await?;
    }
    Ok(adjusted)
}
