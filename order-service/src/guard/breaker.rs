//! When to stop asking somebody who does not answer: pure, the clock is a parameter.
//!
//! *Closed*: everybody asks. After [`FAILURES`] failures in a row *open*: nobody asks for [`PAUSE`]. Then *probing*: one
//! asks; a success closes, a failure opens again. A probe that never reports is forgotten after another [`PAUSE`].

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;

/// How long nobody asks.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether to ask.
#[derive(Debug, Default)]
pub(super) struct Breaker(State);

/// Whether this answer changed how everybody is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened,
    Closed,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Whether to ask now. Whoever may, says afterwards what came of it.
    pub(super) fn permits(&mut self, now: Instant) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until } if now < until => false,
            State::Open { .. } => {
                // The one who asks now is the probe; until it has reported, nobody else asks.
                self.0 = State::Open { until: now + PAUSE };
                true
            }
        }
    }

    /// There was an answer.
    pub(super) fn succeeded(&mut self) -> Change {
        match std::mem::take(&mut self.0) {
            State::Closed { .. } => Change::None,
            State::Open { .. } => Change::Closed,
        }
    }

    /// There was none in time, or an error.
    pub(super) fn failed(&mut self, now: Instant) -> Change {
        match self.0 {
            State::Closed { failures } if failures + 1 < FAILURES => {
                self.0 = State::Closed { failures: failures + 1 };
                Change::None
            }
            State::Closed { .. } => {
                self.0 = State::Open { until: now + PAUSE };
                Change::Opened
            }
            State::Open { .. } => {
                self.0 = State::Open { until: now + PAUSE };
                Change::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        let changes: Vec<_> = (0..FAILURES).map(|_| breaker.failed(now)).collect();
        assert_eq!(changes.last(), Some(&Change::Opened));
        assert!(changes[..changes.len() - 1].iter().all(|change| *change == Change::None));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..3 * FAILURES {
            assert!(breaker.permits(now));
            assert_eq!(breaker.failed(now), Change::None);
            assert_eq!(breaker.succeeded(), Change::None);
        }
        assert!(!opened(now).permits(now));
    }

    #[test]
    fn after_a_pause_one_asks_and_its_answer_counts_for_all() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.permits(now + PAUSE - Duration::from_millis(1)));
        let later = now + PAUSE;
        assert!(breaker.permits(later));
        assert!(!breaker.permits(later), "one probe at a time");
        assert_eq!(breaker.failed(later), Change::None);
        assert!(!breaker.permits(later));
        let later = later + PAUSE;
        assert!(breaker.permits(later));
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.permits(later) && breaker.permits(later));
    }

    #[test]
    fn a_probe_that_never_reports_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.permits(now + PAUSE));
        assert!(!breaker.permits(now + PAUSE));
        assert!(breaker.permits(now + 2 * PAUSE));
    }
}
