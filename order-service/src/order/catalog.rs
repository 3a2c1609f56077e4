//! Products and their stock: pure.

use proto::{
    Currency, Money,
    id::{Actor, AdjustmentId, ProductId},
};

/// The most pieces of one product: 10^12.
pub const MAX_STOCK: i64 = 1_000_000_000_000;

/// A product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub product_id: ProductId,
    /// What people call it.
    pub name: String,
    /// What one costs.
    pub price: Money,
    /// What the price is counted in.
    pub currency: Currency,
    /// How many are left.
    pub stock: i64,
}

/// A delivery, or a loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// The product.
    pub product_id: ProductId,
    /// What makes it idempotent.
    pub adjustment_id: AdjustmentId,
    /// How many come, or go when negative.
    pub delta: i64,
    /// Who asks, as far as that is known. Remembered, and no part of what makes two adjustments the same.
    pub by: Option<Actor>,
}

/// What came of an adjustment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adjusted {
    /// It was made now.
    Done(Product),
    /// It had been made before.
    Replayed(Product),
    /// It cannot be made.
    Refused(Refusal),
}

/// Why stock was not adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such product.
    UnknownProduct,
    /// The adjustment_id came with another delta before.
    Mismatch,
    /// More would go than there is.
    TooFew,
    /// More than [`MAX_STOCK`] would be there.
    TooMany,
}

/// Decides an adjustment, given the product and the delta that its id had before.
pub fn adjust(product: Option<Product>, before: Option<i64>, delta: i64) -> Adjusted {
    let Some(mut product) = product else { return Adjusted::Refused(Refusal::UnknownProduct) };
    match before {
        Some(same) if same == delta => return Adjusted::Replayed(product),
        Some(_) => return Adjusted::Refused(Refusal::Mismatch),
        None => {}
    }
    match product.stock.checked_add(delta) {
        Some(stock) if stock < 0 => Adjusted::Refused(Refusal::TooFew),
        Some(stock) if stock <= MAX_STOCK => {
            product.stock = stock;
            Adjusted::Done(product)
        }
        Some(_) | None => Adjusted::Refused(Refusal::TooMany),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bricks(stock: i64) -> Product {
        Product {
            product_id: ProductId::new(1).unwrap(),
            name: "brick".into(),
            price: Money::parse("1").unwrap(),
            currency: Currency::USD,
            stock,
        }
    }

    #[test]
    fn stock_stays_within_its_bounds() {
        assert_eq!(adjust(Some(bricks(5)), None, -5), Adjusted::Done(bricks(0)));
        assert_eq!(adjust(Some(bricks(5)), None, -6), Adjusted::Refused(Refusal::TooFew));
        assert_eq!(adjust(Some(bricks(1)), None, MAX_STOCK), Adjusted::Refused(Refusal::TooMany));
        assert_eq!(adjust(Some(bricks(1)), None, i64::MAX), Adjusted::Refused(Refusal::TooMany));
        assert_eq!(adjust(Some(bricks(0)), None, i64::MIN), Adjusted::Refused(Refusal::TooFew));
    }

    #[test]
    fn an_adjustment_is_made_once() {
        assert_eq!(adjust(Some(bricks(5)), Some(3), 3), Adjusted::Replayed(bricks(5)));
        assert_eq!(adjust(Some(bricks(5)), Some(3), 4), Adjusted::Refused(Refusal::Mismatch));
        assert_eq!(adjust(None, None, 4), Adjusted::Refused(Refusal::UnknownProduct));
    }
}
