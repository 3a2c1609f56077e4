//! The flags of [`Fairness`].

use clap::Args;

use super::judge::{DAY, Judge, TICK};
use crate::Fairness;

/// As typed.
#[derive(Args, Clone, Debug)]
pub(super) struct FairnessArgs {
    /// Most of each bound that one caller may hold alone, in percent; the less others leave free, the less it may. 100
    /// where all callers share an address
    #[arg(long, env = "CALLER_SHARE", value_name = "PERCENT", default_value = "50")]
    caller_share: String,
    /// Most health and reflection calls in progress
    #[arg(long, env = "MAX_WATCHES", value_name = "N", default_value = "4096")]
    max_watches: String,
    /// Most commands accepted and not done; a call that carries many counts each
    #[arg(long, env = "MAX_QUEUED", value_name = "N", default_value = "16384")]
    max_queued: String,
    /// Longest deadline; what callers ask for beyond it is cut
    #[arg(long, env = "MAX_DEADLINE", value_name = "TIME", default_value = "5m")]
    max_deadline: String,
    /// Time for a request to be received whole
    #[arg(long, env = "BODY_TIMEOUT", value_name = "TIME", default_value = "15s")]
    body_timeout: String,
}

impl FairnessArgs {
    pub(super) fn judged(self, judge: &mut Judge<'_>) -> Fairness {
        Fairness {
            caller_share_percent: judge.number("--caller-share", &self.caller_share, 1..=100),
            max_watches: judge.number("--max-watches", &self.max_watches, 1..=1_000_000),
            max_queued: judge.number("--max-queued", &self.max_queued, 1..=16_384),
            max_deadline: judge.time("--max-deadline", &self.max_deadline, TICK..=DAY),
            body_timeout: judge.time("--body-timeout", &self.body_timeout, TICK..=DAY),
        }
    }
}
