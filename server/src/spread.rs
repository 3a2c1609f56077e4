//! Even spreading without randomness.
//!
//! The fractional parts of n·φ⁻¹ fill [0, 1) more evenly than random numbers do, for every
//! prefix of the sequence. Connections that open or must leave together are spread with it:
//! the largest gap is known, and a run can be repeated.

use std::sync::atomic::{AtomicU32, Ordering};

/// 2³² / φ, odd, so that the sequence visits every value before it repeats.
const STEP: u32 = 0x9E37_79B9;

/// Hands out fractions of [0, 1).
#[derive(Debug, Default)]
pub(crate) struct Spread(AtomicU32);

impl Spread {
    /// The next fraction.
    pub(crate) fn next(&self) -> f64 {
        let point = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        f64::from(point) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_of_the_first_thousand_fractions_are_close_and_no_gap_is_wide() {
        let spread = Spread::default();
        let mut points: Vec<f64> = (0..1_000).map(|_| spread.next()).collect();
        assert!(points.iter().all(|point| (0.0..1.0).contains(point)));
        points.sort_by(f64::total_cmp);
        let gaps: Vec<f64> = points.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (narrowest, widest) = gaps
            .iter()
            .fold((1.0_f64, 0.0_f64), |(low, high), gap| (low.min(*gap), high.max(*gap)));
        assert!(narrowest > 0.0003, "narrowest gap {narrowest}");
        assert!(widest < 0.003, "widest gap {widest}");
    }
}
