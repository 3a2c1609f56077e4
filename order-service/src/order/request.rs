//! What a caller asks for, in one canonical form.

use std::collections::HashMap;

use proto::{
    Currency, Money,
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
    /// What it must be priced in. `None`: an amount is in the default, lines are in what their products are.
    pub currency: Option<Currency>,
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

/// What an order or a product costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// How much.
    pub amount: Money,
    /// Of what.
    pub currency: Currency,
}

/// Tells a duplicate from another request under the same key, together with the currency: see [`super::key`]. What the
/// caller wants done with duplicates is not part of it, nor is the order in which lines were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// Why a basket has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpriced {
    /// A product that the catalogue does not have.
    UnknownProduct(ProductId),
    /// The sum is beyond what money can be.
    TooLarge,
    /// A product that is in another currency than those before it.
    MixedCurrencies(ProductId),
    /// The lines are in this currency, and the request named another one.
    OtherCurrency(Currency),
    /// The amount has more decimal places than its currency.
    TooFine(Currency),
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
    /// A request as its key or its order tells it, whose price is fixed. Whether lines named their currency is not kept.
    pub fn stored(
        account: AccountId,
        key: IdempotencyKey,
        basket: Basket,
        currency: Currency,
    ) -> Self {
        let currency = match basket {
            Basket::Amount(_) => Some(currency),
            Basket::Lines(_) => None,
        };
        Self { account, key, basket, currency }
    }

    /// What it costs at the given prices; an amount without a currency is in the default.
    pub fn price(
        &self,
        prices: &HashMap<ProductId, Price>,
        default: Currency,
    ) -> Result<Price, Unpriced> {
        let price = match &self.basket {
            Basket::Amount(amount) => {
                Price { amount: *amount, currency: self.currency.unwrap_or(default) }
            }
            Basket::Lines(lines) => total(lines, prices, default)?,
        };
        let Price { amount, currency } = price;

        if self.currency.is_some_and(|named| named != currency) {
            return Err(Unpriced::OtherCurrency(currency));
        }
        currency.check(amount).map_err(|_| Unpriced::TooFine(currency))?;
        Ok(price)
    }

    /// The digest of account and basket. The currency is not in it: a pod of the version before, which knows of none, must
    /// recognise a request that came with one, and this version one that came without.
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

/// What lines cost together. Without lines nothing, in the default.
fn total(
    lines: &[Line],
    prices: &HashMap<ProductId, Price>,
    default: Currency,
) -> Result<Price, Unpriced> {
    let mut amount = Money::ZERO;
    let mut currency = None;
    for line in lines {
        let unknown = Unpriced::UnknownProduct(line.product_id);
        let price = prices.get(&line.product_id).ok_or(unknown)?;
        if *currency.get_or_insert(price.currency) != price.currency {
            return Err(Unpriced::MixedCurrencies(line.product_id));
        }
        let sum = price.amount.times(line.quantity).and_then(|cost| amount.checked_add(cost));
        amount = sum.filter(|sum| *sum <= Money::MAX_AMOUNT).ok_or(Unpriced::TooLarge)?;
    }
    Ok(Price { amount, currency: currency.unwrap_or(default) })
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
            currency: None,
        }
    }

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    fn prices<const N: usize>(prices: [(i64, &str, &str); N]) -> HashMap<ProductId, Price> {
        let price = |(id, amount, code)| {
            let amount = Money::parse(amount).unwrap();
            (ProductId::new(id).unwrap(), Price { amount, currency: currency(code) })
        };
        prices.map(price).into()
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
        let prices = prices([(1, "9.99", "USD"), (2, "100000000000000", "USD")]);
        let price = |lines| {
            let request = request(1, "k", Basket::of_lines(lines));
            request.price(&prices, Currency::USD).map(|price| price.amount)
        };
        assert_eq!(price(vec![line(1, 3)]).map(|m| m.to_string()), Ok("29.97".into()));
        assert_eq!(price(vec![line(2, 1)]), Ok(Money::MAX_AMOUNT));
        assert_eq!(price(vec![line(1, 1), line(2, 1)]), Err(Unpriced::TooLarge));
        assert_eq!(price(vec![line(1, i64::MAX)]), Err(Unpriced::TooLarge));
        let missing = ProductId::new(3).unwrap();
        assert_eq!(price(vec![line(3, 1)]), Err(Unpriced::UnknownProduct(missing)));
    }

    #[test]
    fn lines_are_priced_in_the_one_currency_of_their_products() {
        let prices = prices([(1, "10", "KRW"), (2, "5", "KRW"), (3, "5", "EUR")]);
        let price = |lines: &[i64], named: Option<&str>| {
            let lines = lines.iter().map(|product| line(*product, 1)).collect();
            let currency = named.map(currency);
            let request = Request { currency, ..request(1, "k", Basket::of_lines(lines)) };
            request.price(&prices, Currency::USD).map(|price| price.currency)
        };
        let won = currency("KRW");
        assert_eq!(price(&[1, 2], None), Ok(won));
        assert_eq!(price(&[1, 2], Some("KRW")), Ok(won));
        assert_eq!(price(&[1, 2], Some("USD")), Err(Unpriced::OtherCurrency(won)));
        let euro = Unpriced::MixedCurrencies(ProductId::new(3).unwrap());
        assert_eq!(price(&[1, 2, 3], None), Err(euro));
    }

    #[test]
    fn an_amount_is_in_the_currency_that_is_named_or_in_the_default_and_no_finer() {
        let price = |amount: &str, named: Option<&str>| {
            let basket = Basket::Amount(Money::parse(amount).unwrap());
            let request = Request { currency: named.map(currency), ..request(1, "k", basket) };
            request.price(&HashMap::new(), Currency::USD).map(|price| price.currency)
        };
        assert_eq!(price("0.01", None), Ok(Currency::USD));
        assert_eq!(price("0.001", None), Err(Unpriced::TooFine(Currency::USD)));
        assert_eq!(price("0.001", Some("BHD")), Ok(currency("BHD")));
        assert_eq!(price("1", Some("KRW")), Ok(currency("KRW")));
        assert_eq!(price("0.0001", Some("KRW")), Err(Unpriced::TooFine(currency("KRW"))));
    }

    /// As the version before stored it: SHA-256 over the account, eight bytes, and the basket's JSON.
    #[test]
    fn the_digest_is_that_of_the_version_before_whatever_the_currency() {
        let digest = |basket: Basket, currency| {
            let request = Request { currency, ..request(7, "k", basket) };
            request.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let amount = || Basket::Amount(Money::parse("12.5").unwrap());
        let lines = || Basket::of_lines(vec![line(9, 1), line(1, 2)]);
        for currency in [None, Some(Currency::USD), Some(currency("KRW"))] {
            assert_eq!(
                digest(amount(), currency),
                "8635dc2fc2d95ef51a3e6ae4983a72b875139aa0758e8183a5201634f8ec09b3"
            );
            assert_eq!(
                digest(lines(), currency),
                "411f426d9b3c99645fc9ee24ec85d25f0e27b9deab923580673e3d9129435ef1"
            );
        }
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
