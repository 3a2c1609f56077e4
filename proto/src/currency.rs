//! What amounts are counted in: a currency of ISO 4217, and how finely it can be counted.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::Money;

/// A currency of ISO 4217. Displays as its code: `USD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(iso_currency::Currency);

/// A text that is no code of ISO 4217 in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be an ISO 4217 code such as USD")]
pub struct UnknownCurrency;

/// An amount that its currency cannot be paid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must have at most {} decimal places in {currency}", .currency.decimals())]
pub struct TooFine {
    /// The currency.
    pub currency: Currency,
}

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// Its code in ISO 4217, three capitals.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimal places an amount may have: its minor units in ISO 4217 (KRW 0, USD 2, BHD 3), or as many as
    /// money has at most where the standard names none (XAU).
    pub fn decimals(self) -> u32 {
        self.0.exponent().map_or(Money::SCALE, u32::from).min(Money::SCALE)
    }

    /// Passes an amount on that can be paid in this currency.
    ///
    /// ```
    /// use proto::{Currency, Money};
    /// let won: Currency = "KRW".parse().unwrap();
    /// let half = Money::parse("0.50").unwrap();
    /// assert_eq!(Currency::USD.check(half), Ok(half));
    /// assert_eq!(
    ///     won.check(half).unwrap_err().to_string(),
    ///     "must have at most 0 decimal places in KRW"
    /// );
    /// ```
    pub fn check(self, amount: Money) -> Result<Money, TooFine> {
        // Money is normalised: its scale counts no trailing zeros.
        if amount.decimal().scale() <= self.decimals() {
            Ok(amount)
        } else {
            Err(TooFine { currency: self })
        }
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        iso_currency::Currency::from_code(code).map(Self).ok_or(UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACES: [(&str, u32); 10] = [
        ("KRW", 0),
        ("JPY", 0),
        ("ISK", 0),
        ("USD", 2),
        ("EUR", 2),
        ("BHD", 3),
        ("KWD", 3),
        ("CLF", 4),
        ("XAU", 4),
        ("XXX", 4),
    ];

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn decimal_places_are_those_of_iso_4217() {
        for (code, places) in PLACES {
            assert_eq!(currency(code).decimals(), places, "{code}");
            assert_eq!(currency(code).to_string(), code);
        }
    }

    #[test]
    fn only_a_code_in_capitals_is_a_currency() {
        for text in ["", "usd", "US", "USDX", " USD", "US$", "840", "ZZZ", "\u{ff35}SD"] {
            assert_eq!(text.parse::<Currency>(), Err(UnknownCurrency), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_fits_exactly_when_it_is_a_whole_number_of_minor_units(
            (code, places) in prop::sample::select(PLACES.to_vec()),
            units in prop_oneof![0..200_000_i64, 0..=9_000_000_000_000_000_000_i64],
        ) {
            let amount = Money::from_units(units).unwrap();
            let whole = units % 10_i64.pow(Money::SCALE - places) == 0;
            prop_assert_eq!(currency(code).check(amount).is_ok(), whole, "{} {}", amount, code);
        }
    }
}
