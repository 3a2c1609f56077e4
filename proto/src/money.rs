//! Amounts of money: exact decimals of at most four places, never negative, bounded.
//!
//! The currency is not carried here; [`crate::Currency`] says how many of the places it has. Two bounds hold: a caller
//! may name at most [`Money::MAX_AMOUNT`], and no balance ever exceeds [`Money::MAX_BALANCE`], so that every value fits
//! `NUMERIC(19,4)` and, in units of 10^-4, an `i64`.

use std::fmt;

use rust_decimal::Decimal;
use thiserror::Error;

/// An amount of money, zero or more.
///
/// Displays as a plain decimal without trailing zeros: `0`, `10000`, `0.05`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(Decimal);

/// Why something is not money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// Signs, spaces, exponents, separators, NaN, …
    #[error("must be a plain decimal such as 10000 or 12.50")]
    Malformed,
    /// 0.00001
    #[error("must have at most 4 decimal places")]
    TooPrecise,
    /// Zero where an amount is needed.
    #[error("must be greater than zero")]
    Zero,
    /// Above [`Money::MAX_AMOUNT`].
    #[error("must be at most 100000000000000")]
    TooLarge,
    /// A stored value that no service can have written.
    #[error("is outside the range of money")]
    OutOfRange,
}

impl Money {
    /// Decimal places that money has at most, whatever its currency.
    pub const SCALE: u32 = 4;

    /// No money.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The most a caller may name: 10^14.
    pub const MAX_AMOUNT: Self = Self::whole(100_000_000_000_000);

    /// The most an account may hold: 9 × 10^14. In units of 10^-4 it still fits an `i64`.
    pub const MAX_BALANCE: Self = Self::whole(900_000_000_000_000);

    /// Reads an amount as callers send it: `[0-9]+(\.[0-9]{1,4})?`, greater than zero, at most 10^14.
    ///
    /// ```
    /// use proto::{Money, money::MoneyError};
    /// assert_eq!(Money::parse("12.50").unwrap().to_string(), "12.5");
    /// assert_eq!(Money::parse("1e3"), Err(MoneyError::Malformed));
    /// assert_eq!(Money::parse("0"), Err(MoneyError::Zero));
    /// ```
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let amount = Self::parse_or_zero(text)?;
        if amount.is_zero() { Err(MoneyError::Zero) } else { Ok(amount) }
    }

    /// Like [`Money::parse`], but zero is an amount too.
    pub fn parse_or_zero(text: &str) -> Result<Self, MoneyError> {
        if text.is_empty() {
            return Err(MoneyError::Empty);
        }
        let (whole, places) = text.split_once('.').map_or((text, None), |(w, p)| (w, Some(p)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !places.is_none_or(digits) {
            return Err(MoneyError::Malformed);
        }
        if places.is_some_and(|p| p.len() > Self::SCALE as usize) {
            return Err(MoneyError::TooPrecise);
        }
        // Leading zeros count for nothing; more digits than the bound has cannot be within it.
        let significant = whole.trim_start_matches('0').len();
        if significant > 15 {
            return Err(MoneyError::TooLarge);
        }
        let value = text[whole.len() - significant..].trim_end_matches('.');
        let value = if value.starts_with('.') || value.is_empty() {
            Decimal::from_str_exact(&format!("0{value}"))
        } else {
            Decimal::from_str_exact(value)
        };
        let money = Self(value.map_err(|_| MoneyError::Malformed)?.normalize());
        if money > Self::MAX_AMOUNT { Err(MoneyError::TooLarge) } else { Ok(money) }
    }

    /// Takes a stored decimal, refusing what is negative, too precise or beyond [`Money::MAX_BALANCE`].
    pub fn from_decimal(value: Decimal) -> Result<Self, MoneyError> {
        let value = value.normalize();
        let valid = value >= Decimal::ZERO && value.scale() <= Self::SCALE;
        if valid && Self(value) <= Self::MAX_BALANCE {
            Ok(Self(value))
        } else {
            Err(MoneyError::OutOfRange)
        }
    }

    /// Takes a stored count of units of 10^-4.
    pub fn from_units(units: i64) -> Result<Self, MoneyError> {
        Self::from_decimal(Decimal::new(units, Self::SCALE))
    }

    /// The value as a decimal, for `NUMERIC` columns.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// The value in units of 10^-4, for `INTEGER` columns.
    pub fn units(self) -> i64 {
        let mut value = self.0;
        value.rescale(Self::SCALE);
        i64::try_from(value.mantissa()).expect("MAX_BALANCE in units fits an i64")
    }

    /// Whether there is none.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or nothing when it exceeds [`Money::MAX_BALANCE`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self((self.0 + other.0).normalize())).filter(|sum| *sum <= Self::MAX_BALANCE)
    }

    /// The difference, or nothing when it is negative.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        (other <= self).then(|| Self((self.0 - other.0).normalize()))
    }

    /// The price of `quantity` pieces, or nothing when it exceeds [`Money::MAX_AMOUNT`] or quantity is negative.
    pub fn times(self, quantity: i64) -> Option<Self> {
        let product = self.0.checked_mul(Decimal::from(quantity))?;
        Self::from_decimal(product).ok().filter(|total| *total <= Self::MAX_AMOUNT)
    }

    const fn whole(value: u64) -> Self {
        Self(Decimal::from_parts(value as u32, (value >> 32) as u32, 0, false, 0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Money({})", self.0)
    }
}

impl serde::Serialize for Money {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse_or_zero(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_callers_may_not_send_is_refused_by_kind() {
        use MoneyError::{Empty, Malformed, TooLarge, TooPrecise, Zero};
        for (text, error) in [
            ("", Empty),
            ("0", Zero),
            ("0.0000", Zero),
            ("-1", Malformed),
            ("+1", Malformed),
            (" 1", Malformed),
            ("1 ", Malformed),
            (".5", Malformed),
            ("5.", Malformed),
            ("1.2.3", Malformed),
            ("1e3", Malformed),
            ("1_000", Malformed),
            ("NaN", Malformed),
            ("inf", Malformed),
            ("١", Malformed),
            ("0x10", Malformed),
            ("1.00001", TooPrecise),
            ("100000000000000.0001", TooLarge),
            ("1000000000000000", TooLarge),
        ] {
            assert_eq!(Money::parse(text), Err(error), "{text:?}");
        }
        let long = "9".repeat(100_000);
        assert_eq!(Money::parse(&long), Err(TooLarge));
    }

    #[test]
    fn bounds_are_inclusive_and_zeros_do_not_count() {
        assert_eq!(Money::parse("100000000000000.0000"), Ok(Money::MAX_AMOUNT));
        assert_eq!(
            Money::parse("000000000000000000001.5000").map(|m| m.to_string()),
            Ok("1.5".into())
        );
        assert_eq!(Money::parse("000.0001").map(|m| m.to_string()), Ok("0.0001".into()));
        assert_eq!(Money::MAX_BALANCE.units(), 9_000_000_000_000_000_000);
    }

    proptest! {
        #[test]
        fn text_units_and_decimal_name_the_same_money(units in 0..=1_000_000_000_000_000_000_i64) {
            let money = Money::from_units(units).unwrap();
            prop_assert_eq!(money.units(), units);
            prop_assert_eq!(Money::parse_or_zero(&money.to_string()), Ok(money));
            prop_assert_eq!(Money::from_decimal(money.decimal()), Ok(money));
            let text = money.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_digit() || b == b'.'), "{text}");
            prop_assert!(!text.contains('.') || !text.ends_with('0'), "{text}");
        }

        #[test]
        fn sums_and_differences_undo_each_other(a in 0..=9_000_000_000_000_000_000_i64, b in 0..=9_000_000_000_000_000_000_i64) {
            let (a, b) = (Money::from_units(a).unwrap(), Money::from_units(b).unwrap());
            match a.checked_add(b) {
                Some(sum) => prop_assert_eq!(sum.checked_sub(b), Some(a)),
                None => prop_assert!(i128::from(a.units()) + i128::from(b.units()) > i128::from(Money::MAX_BALANCE.units())),
            }
            prop_assert_eq!(a.checked_sub(b).is_some(), a >= b);
        }

        #[test]
        fn a_price_times_a_quantity_is_exact_or_refused(price in 1..=1_000_000_000_000_000_000_i64, quantity in 0..=i64::MAX) {
            let exact = i128::from(price) * i128::from(quantity);
            let total = Money::from_units(price).unwrap().times(quantity);
            if exact <= i128::from(Money::MAX_AMOUNT.units()) {
                prop_assert_eq!(total.map(Money::units).map(i128::from), Some(exact));
            } else {
                prop_assert_eq!(total, None);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9.]{0,40}") {
            if let Ok(money) = Money::parse(&text) {
                prop_assert!(money > Money::ZERO && money <= Money::MAX_AMOUNT);
            }
        }
    }
}
