//! What a caller asks for, in one canonical form.

use std::collections::HashMap;

use proto::{
    Money,
    id::{AccountId, IdempotencyKey, ProductId},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The most lines one order may have.
pub const MAX_LINES: usize = 100;

/// A request to place an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who pays.
    pub account: AccountId,
    /// What makes it idempotent.
    pub key: IdempotencyKey,
    /// What for.
    pub basket: Basket,
}

/// An amount, or products whose prices make the amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basket {
    /// A plain amount.
    Amount(Money),
    /// Products, each once, in product order: see [`Basket::of_lines`].
    Lines(Vec<Line>),
}

/// A product and how many of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The product.
    pub product_id: ProductId,
    /// How many, greater than zero.
    pub quantity: i64,
}

/// Tells a duplicate from another request under the same key. What the caller wants done with duplicates is not part
/// of it, nor is the order in which lines were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Why a basket has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// A product that the catalogue does not have.
    UnknownProduct(ProductId),
    /// The sum is beyond what money can be.
    TooLarge,
}

impl Basket {
    /// A basket of products in canonical order.
    pub fn of_lines(mut lines: Vec<Line>) -> Self {
        lines.sort_by_key(|line| line.product_id);
        Self::Lines(lines)
    }

    /// Its lines; an amount has none.
    pub fn lines(&self) -> &[Line] {
        match self {
            Self::Amount(_) => &[],
            Self::Lines(lines) => lines,
        }
    }

    /// What it costs at the given prices.
    pub fn price(&self, prices: &HashMap<ProductId, Money>) -> Result<Money, Unpriced> {
        let lines = match self {
            Self::Amount(amount) => return Ok(*amount),
            Self::Lines(lines) => lines,
        };
        lines.iter().try_fold(Money::ZERO, |sum, line| {
            let price =
                prices.get(&line.product_id).ok_or(Unpriced::UnknownProduct(line.product_id))?;
            let total = price.times(line.quantity).and_then(|cost| sum.checked_add(cost));
            total.filter(|total| *total <= Money::MAX_AMOUNT).ok_or(Unpriced::TooLarge)
        })
    }

    /// Its form in the database.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a basket is plain data")
    }

    /// Reads it back.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

impl Request {
    /// The digest of account and basket.
    pub fn digest(&self) -> Digest {
        let account = self.account.get().to_be_bytes();
        Digest(
            Sha256::new()
                .chain_update(account)
                .chain_update(self.basket.to_json())
                .finalize()
                .into(),
        )
    }
}

impl Digest {
    /// Takes stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(product: i64, quantity: i64) -> Line {
        Line { product_id: ProductId::new(product).unwrap(), quantity }
    }

    fn request(account: i64, key: &str, basket: Basket) -> Request {
        Request {
            account: AccountId::new(account).unwrap(),
            key: IdempotencyKey::new(key).unwrap(),
            basket,
        }
    }

    #[test]
    fn bug_8_the_digest_is_over_a_canonical_form() {
        let one = request(1, "k", Basket::of_lines(vec![line(1, 2), line(9, 1)]));
        let two = request(1, "k", Basket::of_lines(vec![line(9, 1), line(1, 2)]));
        assert_eq!(one.digest(), two.digest());
        let plain = |text| request(1, "k", Basket::Amount(Money::parse(text).unwrap())).digest();
        assert_eq!(plain("10"), plain("0010.0000"));
        assert_ne!(plain("10"), plain("10.0001"));
        assert_ne!(
            plain("10"),
            request(2, "k", Basket::Amount(Money::parse("10").unwrap())).digest()
        );
    }

    #[test]
    fn a_price_is_exact_or_the_basket_is_refused() {
        let prices: HashMap<_, _> = [(1, "9.99"), (2, "100000000000000")]
            .map(|(id, price)| (ProductId::new(id).unwrap(), Money::parse(price).unwrap()))
            .into();
        let price = |lines| Basket::of_lines(lines).price(&prices);
        assert_eq!(price(vec![line(1, 3)]).map(|m| m.to_string()), Ok("29.97".into()));
        assert_eq!(price(vec![line(2, 1)]), Ok(Money::MAX_AMOUNT));
        assert_eq!(price(vec![line(1, 1), line(2, 1)]), Err(Unpriced::TooLarge));
        assert_eq!(price(vec![line(1, i64::MAX)]), Err(Unpriced::TooLarge));
        let missing = ProductId::new(3).unwrap();
        assert_eq!(price(vec![line(3, 1)]), Err(Unpriced::UnknownProduct(missing)));
    }

    #[test]
    fn a_basket_reads_back_from_its_json() {
        for basket in
            [Basket::Amount(Money::parse("1.5").unwrap()), Basket::of_lines(vec![line(4, 2)])]
        {
            assert_eq!(Basket::from_json(&basket.to_json()).unwrap(), basket);
        }
    }
}
