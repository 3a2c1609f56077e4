//! The channel's one source of randomness: cheap, shared without a lock, and repeatable from a seed.
//!
//! Spreading load and jitter need no secrets, so this is SplitMix64 over a counter (Steele, Lea and
//! Flood, "Fast splittable pseudorandom number generators", 2014).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(crate) struct Entropy(AtomicU64);

impl Entropy {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Seeded by the operating system, by way of the standard library's hash keys.
    pub(crate) fn from_system() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    pub(crate) fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An index below `bound`, which must not be zero.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).expect("the quotient is below a usize bound")
    }

    /// Puts the items in any order, each as likely as the others (Fisher and Yates).
    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A number in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
    pub(crate) fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A factor in `[0.8, 1.2)`: gRPC's jitter for every backoff.
    pub(crate) fn jitter(&self) -> f64 {
        0.8 + 0.4 * self.unit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence_that_stays_in_its_ranges() {
        let (a, b) = (Entropy::seeded(7), Entropy::seeded(7));
        for _ in 0..1000 {
            assert_eq!(a.next(), b.next());
            assert!((0.8..1.2).contains(&a.jitter()) && (0.8..1.2).contains(&b.jitter()));
            assert!(a.below(3) < 3 && b.below(3) < 3);
        }
    }
}
