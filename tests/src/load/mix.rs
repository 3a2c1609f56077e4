//! Which request a number makes: pure, so that the same seed sends the same requests.

use proto::order::v1::{OnDuplicate, OrderLine, PlaceOrderRequest};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::Zipf;

/// A duplicate repeats one of so many requests before it.
const MEMORY: u64 = 1_000;
/// Amounts and quantities are small: accounts are opened with enough for all of a run.
const AMOUNT_MAX: u32 = 100;

/// Who pays.
#[derive(Clone, Copy, Debug)]
pub struct Accounts {
    /// Accounts 1 to this.
    pub count: u32,
    /// Skew: 0 is uniform, 1 as in most natural crowds.
    pub zipf: f64,
}

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Nothing: the order names an amount.
    None,
    /// One piece each of so many products out of 1 to `count`.
    Lines {
        /// Lines of an order, at most `count`.
        lines: u32,
        /// Products 1 to this.
        count: u32,
    },
}

/// A mix of requests.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Where all chance comes from.
    pub seed: u64,
    /// What the keys of this run begin with, so that no two runs share one.
    pub run: String,
    /// Who pays.
    pub accounts: Accounts,
    /// What is bought.
    pub products: Products,
    /// The share of requests that repeat an earlier one, 0 to 1.
    pub duplicates: f64,
    /// What a repeated request asks for.
    pub on_duplicate: OnDuplicate,
}

impl Mix {
    /// The request with this number.
    #[must_use]
    pub fn order(&self, number: u64) -> PlaceOrderRequest {
        let original = self.original(number);
        let mut random = self.random(original);
        let account_id = self.account(&mut random);
        let (amount, lines) = match self.products {
            Products::None => (random.random_range(1..=AMOUNT_MAX).to_string(), Vec::new()),
            Products::Lines { lines, count } => (String::new(), some_of(lines, count, &mut random)),
        };
        PlaceOrderRequest {
            account_id,
            idempotency_key: self.key(original),
            amount,
            lines,
            on_duplicate: self.on_duplicate.into(),
            currency: String::new(),
        }
    }

    /// The key of the request with this number, were it no duplicate.
    #[must_use]
    pub fn key(&self, original: u64) -> String {
        format!("{}-{original}", self.run)
    }

    /// The number of the request that this one repeats; its own if it repeats none.
    #[must_use]
    pub fn original(&self, number: u64) -> u64 {
        if self.duplicates <= 0.0 {
            return number;
        }
        let mut number = number;
        // What a duplicate repeats may be one itself; numbers fall, so this ends.
        loop {
            let mut random = self.random(!number);
            if number == 0 || !random.random_bool(self.duplicates.min(1.0)) {
                return number;
            }
            number -= random.random_range(1..=MEMORY.min(number));
        }
    }

    fn account(&self, random: &mut SmallRng) -> i64 {
        let Accounts { count, zipf } = self.accounts;
        if zipf <= 0.0 {
            return i64::from(random.random_range(1..=count));
        }
        let rank =
            random.sample(Zipf::new(f64::from(count), zipf).expect("a count and a skew > 0"));
        #[expect(clippy::cast_possible_truncation, reason = "a whole number from 1 to count")]
        let rank = rank as i64;
        rank
    }

    fn random(&self, number: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// `lines` products next to each other, from a random one on.
fn some_of(lines: u32, count: u32, random: &mut SmallRng) -> Vec<OrderLine> {
    let first = random.random_range(0..count);
    (0..lines.min(count))
        .map(|offset| OrderLine {
            product_id: i64::from((first + offset) % count) + 1,
            quantity: 1,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn mix(duplicates: f64) -> Mix {
        Mix {
            seed: 11,
            run: "r".to_owned(),
            accounts: Accounts { count: 50, zipf: 0.0 },
            products: Products::Lines { lines: 3, count: 5 },
            duplicates,
            on_duplicate: OnDuplicate::Replay,
        }
    }

    #[test]
    fn a_number_makes_the_same_request_every_time() {
        let mix = mix(0.2);
        for number in 0..200 {
            assert_eq!(mix.order(number), mix.order(number));
        }
    }

    #[test]
    fn a_duplicate_is_its_original_to_the_letter_and_as_frequent_as_asked() {
        let (mix, total) = (mix(0.2), 20_000);
        let mut repeated = 0;
        for number in 0..total {
            let original = mix.original(number);
            assert_eq!(mix.order(number), mix.order(original));
            assert_eq!(mix.original(original), original);
            repeated += u32::from(original != number);
        }
        assert!((3_600..4_400).contains(&repeated), "{repeated} of {total}");
    }

    #[test]
    fn without_duplicates_no_key_comes_twice() {
        let keys: HashSet<_> = (0..1_000).map(|n| mix(0.0).order(n).idempotency_key).collect();
        assert_eq!(keys.len(), 1_000);
    }

    #[test]
    fn lines_name_each_product_once() {
        for number in 0..100 {
            let products: HashSet<_> =
                mix(0.0).order(number).lines.iter().map(|line| line.product_id).collect();
            assert_eq!(products.len(), 3);
            assert!(products.iter().all(|product| (1..=5).contains(product)));
        }
    }

    #[test]
    fn skewed_accounts_stay_in_range_and_favour_the_first() {
        let mut skewed = mix(0.0);
        skewed.accounts.zipf = 1.0;
        let accounts: Vec<_> = (0..5_000).map(|n| skewed.order(n).account_id).collect();
        assert!(accounts.iter().all(|account| (1..=50).contains(account)));
        let first = accounts.iter().filter(|account| **account == 1).count();
        assert!(first > 700, "{first} of 5000 by the first of 50 accounts");
    }
}
