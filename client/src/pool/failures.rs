//! The share of an endpoint's recent calls that failed, for the balancer.
//!
//! An endpoint that fails at once has few calls under way, and a balancer that looks at nothing else
//! would send it ever more. The share moves a tenth of the way with each call, and halves every ten
//! seconds by itself, so that an endpoint that nobody dares to ask is asked again.
//!
//! Every status but OK counts. Where callers ask for what is not there, every endpoint says so and all
//! shares are alike; only a difference between endpoints moves calls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How far one call moves the share.
const STEP: f32 = 0.1;
const HALF_LIFE: Duration = Duration::from_secs(10);
/// A smaller share is none.
const LEAST: f32 = 0.001;

#[derive(Debug)]
pub(super) struct Failures {
    began: Instant,
    /// The share as a float's bits above, the millisecond of its last change below: one word, so that
    /// calls read it without a lock.
    packed: AtomicU64,
}

impl Failures {
    pub(super) fn none() -> Self {
        Self { began: Instant::now(), packed: AtomicU64::new(0) }
    }

    /// A call ended, well or not.
    pub(super) fn note(&self, well: bool) {
        // The usual case costs one read.
        if well && self.packed.load(Ordering::Relaxed) == 0 {
            return;
        }

        let now_ms = self.now_ms();
        let moved = |packed| {
            let share = share_at(packed, now_ms);
            let goal = if well { 0.0 } else { 1.0 };
            Some(pack(share + (goal - share) * STEP, now_ms))
        };
        // The closure always answers, so there is no failure to look at.
        let _ = self.packed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    /// From 0, nothing failed, to 1.
    pub(super) fn share(&self) -> f32 {
        match self.packed.load(Ordering::Relaxed) {
            0 => 0.0,
            packed => share_at(packed, self.now_ms()),
        }
    }

    fn now_ms(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "it wraps after 49 days")]
        {
            self.began.elapsed().as_millis() as u32
        }
    }
}

fn pack(share: f32, now_ms: u32) -> u64 {
    if share < LEAST { 0 } else { u64::from(share.to_bits()) << 32 | u64::from(now_ms) }
}

fn share_at(packed: u64, now_ms: u32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    let (share, at_ms) = (f32::from_bits((packed >> 32) as u32), packed as u32);
    let rested = Duration::from_millis(u64::from(now_ms.wrapping_sub(at_ms)));
    share * (-rested.as_secs_f32() / HALF_LIFE.as_secs_f32()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_share_follows_what_happens_and_fades_when_nothing_does() {
        let failures = Failures::none();
        failures.note(true);
        assert_eq!(failures.packed.load(Ordering::Relaxed), 0);
        (0..50).for_each(|_| failures.note(false));
        assert!(failures.share() > 0.99, "{}", failures.share());
        tokio::time::advance(HALF_LIFE).await;
        assert!((failures.share() - 0.5).abs() < 0.01, "{}", failures.share());
        (0..100).for_each(|_| failures.note(true));
        assert_eq!(failures.packed.load(Ordering::Relaxed), 0);
    }
}
