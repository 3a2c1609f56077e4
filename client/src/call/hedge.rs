//! Hedging (gRFC A6): another attempt goes out before the first has answered, and the first good
//! answer wins. For methods that may run several times.
//!
//! Attempts go out `hedgingDelay` apart, at once after a non-fatal failure, or as the server's
//! pushback says; a pushback of "never" ends sending. A fatal status ends the call. The throttle stops
//! hedges like retries. At most `maxAttempts` are counted; one refused unread is replaced once for
//! free, one never sent without end. When the call ends, the others are cancelled.

use futures_util::StreamExt;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesUnordered;
use http::Response;
use std::pin::pin;
use tokio::time::{Instant, sleep_until};

use super::classify::Class;
use super::judge::Failure;
use super::retry::{Failed, Pushback};
use super::{Call, RequestBody};
use crate::body::Body;
use crate::config::HedgingPolicy;
use crate::error::Error;

/// When the next attempt may go out.
struct Pacer<'a> {
    policy: &'a HedgingPolicy,
    sent: u32,
    used_free_retry: bool,
    /// Absent: no more.
    next: Option<Instant>,
}

impl<'a> Pacer<'a> {
    fn new(policy: &'a HedgingPolicy, now: Instant) -> Self {
        let next = now.checked_add(policy.delay);
        Self { policy, sent: 1, used_free_retry: false, next }
    }

    /// The moment of the next attempt, if one is left.
    fn due(&self) -> Option<Instant> {
        self.next.filter(|_| self.sent < self.policy.max_attempts)
    }

    fn sent(&mut self, now: Instant) {
        self.sent += 1;
        self.next = now.checked_add(self.policy.delay);
    }

    /// Whether the failure leaves the call going; moves the next attempt forward or away.
    fn goes_on(&mut self, failed: Failed, now: Instant) -> bool {
        match failed {
            Failed::Transport(Class::Unsent) => self.replace(now),
            Failed::Transport(Class::Unprocessed) if !self.used_free_retry => {
                self.used_free_retry = true;
                self.replace(now);
            }
            Failed::Transport(Class::Unprocessed | Class::Ambiguous) | Failed::Unreachable => {
                self.next = self.next.map(|_| now);
            }
            Failed::Status(code, pushback) if self.policy.non_fatal.contains(code) => {
                self.next = match pushback {
                    Pushback::Absent => self.next.map(|_| now),
                    Pushback::After(wait) => self.next.and_then(|_| now.checked_add(wait)),
                    Pushback::Never => None,
                };
            }
            Failed::Status(..) | Failed::Transport(Class::Final) => return false,
        }
        true
    }

    /// The attempt does not count.
    fn replace(&mut self, now: Instant) {
        self.sent = self.sent.saturating_sub(1);
        self.next = Some(now);
    }
}

impl<B: RequestBody> Call<B> {
    pub(super) async fn run_hedged(&self, policy: &HedgingPolicy) -> Result<Response<Body>, Error> {
        let mut attempts = FuturesUnordered::from_iter([self.attempt(0)]);
        let mut pacer = Pacer::new(policy, Instant::now());
        let mut last = None;
        loop {
            let open = self.source.replayable() && self.shared.throttle.allows();
            let due = pacer.due().filter(|_| open);
            if attempts.is_empty()
                && due.is_none()
                && let Some(outcome) = last
            {
                return self.give_up(outcome);
            }
            let alarm = pin!(OptionFuture::from(due.map(sleep_until)));
            tokio::select! {
                Some(result) = attempts.next() => {
                    let Failure { failed, outcome } = match result {
                        Ok(response) => return Ok(response),
                        Err(failure) => *failure,
                    };
                    if !pacer.goes_on(failed, Instant::now()) {
                        return self.give_up(outcome);
                    }
                    if burdened_a_server(failed) {
                        self.shared.throttle.failed();
                    }
                    last = Some(outcome);
                }
                Some(()) = alarm => {
                    if !attempts.is_empty() {
                        self.record.hedge();
                    }
                    attempts.push(self.attempt(pacer.sent));
                    pacer.sent(Instant::now());
                }
            }
        }
    }
}

/// Whether a failure counts in the throttle.
fn burdened_a_server(failed: Failed) -> bool {
    match failed {
        Failed::Status(..) | Failed::Transport(Class::Ambiguous) | Failed::Unreachable => true,
        Failed::Transport(Class::Unsent | Class::Unprocessed | Class::Final) => false,
    }
}
