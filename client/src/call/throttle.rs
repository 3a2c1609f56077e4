//! Retry throttling (gRFC A6): when too many calls fail, retries stop before they make it worse.
//!
//! One bucket per channel, which is one server name. A failure takes a token, a success gives back a
//! fraction; while no more than half the tokens are left, nothing is retried. Calls that were never
//! sent cost nothing: they burdened no server.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::RetryThrottling;

const TOKEN: u32 = 1000;

/// The bucket, in thousandths of a token. Without `retryThrottling` every retry is allowed.
#[derive(Debug)]
pub(crate) struct Throttle {
    limits: Option<RetryThrottling>,
    millitokens: AtomicU32,
}

impl Throttle {
    pub(crate) fn new(limits: Option<RetryThrottling>) -> Self {
        let full = limits.map_or(0, |limits| limits.max_millitokens);
        Self { limits, millitokens: AtomicU32::new(full) }
    }

    /// Counts a failure and tells whether it may be retried.
    pub(crate) fn failed(&self) -> bool {
        let Some(limits) = self.limits else { return true };
        let left = self.update(|tokens| tokens.saturating_sub(TOKEN));
        left > limits.max_millitokens / 2
    }

    pub(crate) fn succeeded(&self) {
        if let Some(limits) = self.limits
            && self.millitokens.load(Ordering::Relaxed) < limits.max_millitokens
        {
            self.update(|tokens| {
                tokens.saturating_add(limits.ratio_millitokens).min(limits.max_millitokens)
            });
        }
    }

    /// Whether hedges may be sent now.
    pub(crate) fn allows(&self) -> bool {
        self.limits.is_none_or(|limits| {
            self.millitokens.load(Ordering::Relaxed) > limits.max_millitokens / 2
        })
    }

    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        let changed = |tokens| Some(change(tokens));
        let before = self.millitokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
        change(before.unwrap_or_else(|unchanged| unchanged))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn throttle(tokens: u32, ratio_millitokens: u32) -> Throttle {
        Throttle::new(Some(RetryThrottling { max_millitokens: tokens * TOKEN, ratio_millitokens }))
    }

    #[test]
    fn retries_stop_at_half_the_tokens_and_come_back_with_successes() {
        let throttle = throttle(4, 500);
        assert!(throttle.failed());
        assert!(!throttle.failed());
        throttle.succeeded();
        assert!(throttle.allows());
        assert!(!throttle.failed());
    }

    proptest! {
        #[test]
        fn tokens_stay_within_bounds(max in 1u32..=1000, ratio in 1u32..1_000_000, outcomes: Vec<bool>) {
            let throttle = throttle(max, ratio);
            for success in outcomes {
                let allowed = if success { throttle.succeeded(); throttle.allows() } else { throttle.failed() };
                let tokens = throttle.millitokens.load(Ordering::Relaxed);
                prop_assert!(tokens <= max * TOKEN);
                prop_assert_eq!(allowed, tokens > max * TOKEN / 2);
            }
        }
    }
}
