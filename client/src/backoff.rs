//! Exponential backoff with jitter, as an iterator: it holds no timer and is tested without one.
//!
//! The n-th wait is `min(initial · multiplier^(n-1), max) × [0.8, 1.2)`, reckoned in floating seconds:
//! integer seconds would round the jitter away.

use std::time::Duration;

use crate::config::Backoff;
use crate::entropy::Entropy;

/// The waits of one sequence of failures.
#[derive(Clone, Debug)]
pub(crate) struct Delays {
    backoff: Backoff,
    base_s: f64,
}

impl Delays {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, base_s: backoff.initial.as_secs_f64() }
    }

    /// The next wait. Endless; whoever retries counts attempts.
    pub(crate) fn next(&mut self, entropy: &Entropy) -> Duration {
        let max_s = self.backoff.max.as_secs_f64();
        let wait_s = self.base_s.min(max_s);
        self.base_s = (self.base_s * self.backoff.multiplier).min(max_s);
        Duration::from_secs_f64(wait_s * entropy.jitter())
    }

    /// Starts over, after success or when the server named a time itself.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.backoff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_wait_is_within_a_fifth_of_the_formula(
            seed: u64,
            initial_ms in 1u64..10_000,
            max_ms in 1u64..200_000,
            multiplier in 0.1f64..10.0,
        ) {
            let backoff = Backoff {
                initial: Duration::from_millis(initial_ms),
                max: Duration::from_millis(max_ms),
                multiplier,
            };
            let (entropy, mut delays) = (Entropy::seeded(seed), Delays::new(backoff));
            for n in 0..12 {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let exact = (initial_ms as f64 * multiplier.powi(n)).min(max_ms as f64) / 1000.0;
                let wait = delays.next(&entropy).as_secs_f64();
                // Growth stops at the maximum, so a shrinking sequence may start from it.
                let slack = 1e-6;
                prop_assert!(wait <= exact.max(0.0) * 1.2 + slack || initial_ms > max_ms);
                prop_assert!(wait >= exact * 0.8 - slack || initial_ms > max_ms);
                prop_assert!(wait <= max_ms as f64 / 1000.0 * 1.2 + slack);
            }
            delays.reset();
            let first = initial_ms.min(max_ms) as f64 / 1000.0;
            let wait = delays.next(&entropy).as_secs_f64();
            prop_assert!((wait - first).abs() <= first * 0.2 + 1e-6);
        }
    }
}
