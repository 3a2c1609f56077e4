//! What an audit found.

use std::collections::BTreeMap;

use serde::Serialize;

/// Breaches that are listed; more are counted.
const LISTED_MAX: usize = 100;

/// The result of an audit.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Accounts read.
    pub accounts: u64,
    /// Reservations read.
    pub reservations: u64,
    /// Lines of statements read.
    pub entries: u64,
    /// Sums over all accounts of a currency, as plain decimals.
    pub currencies: BTreeMap<&'static str, Totals>,
    /// What is wrong, the first hundred.
    pub breaches: Vec<Breach>,
    /// How much is wrong in all.
    pub breaches_total: u64,
    /// Whether nothing is.
    pub ok: bool,
}

/// Sums of a currency. opened + deposited − captured + refunded = balance.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Opening balances.
    #[serde(serialize_with = "decimal")]
    pub opened: i128,
    /// Deposits.
    #[serde(serialize_with = "decimal")]
    pub deposited: i128,
    /// Captures.
    #[serde(serialize_with = "decimal")]
    pub captured: i128,
    /// Refunds.
    #[serde(serialize_with = "decimal")]
    pub refunded: i128,
    /// Balances.
    #[serde(serialize_with = "decimal")]
    pub balance: i128,
    /// Held reservations.
    #[serde(serialize_with = "decimal")]
    pub held: i128,
}

/// An invariant that a row breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which, by its number in the design.
    pub invariant: &'static str,
    /// On which account.
    pub account_id: i64,
    /// In which row, when it is not the account's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// What is there and what should be.
    pub problem: String,
}

impl Report {
    pub(super) fn breach(&mut self, breach: Breach) {
        self.breaches_total += 1;
        if self.breaches.len() < LISTED_MAX {
            self.breaches.push(breach);
        }
    }

    pub(super) fn finish(mut self) -> Self {
        self.ok = self.breaches_total == 0;
        self
    }
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.deposited += other.deposited;
        self.captured += other.captured;
        self.refunded += other.refunded;
        self.balance += other.balance;
        self.held += other.held;
    }

    /// What the balance should be.
    pub(super) fn expected_balance(&self) -> i128 {
        self.opened + self.deposited - self.captured + self.refunded
    }
}

/// Units of 10^-4 as a plain decimal without trailing zeros. Sums may exceed what an account can hold, and a wrong one
/// may be negative, so this is not `Money`.
pub(super) fn plain(units: i128) -> String {
    let (whole, part) = (units.unsigned_abs() / 10_000, units.unsigned_abs() % 10_000);
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{part:04}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn decimal<S: serde::Serializer>(units: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&plain(*units))
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn sums_are_written_as_amounts_are() {
        let texts = [0, 1, 10_000, 125_000, -5_000, 1_000_000_000_000_000_000_000].map(plain);
        assert_eq!(texts, ["0", "0.0001", "1", "12.5", "-0.5", "100000000000000000"]);
    }
}
