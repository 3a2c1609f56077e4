//! The retry rule (gRFC A6): what happens after an attempt failed.
//!
//! | the attempt | then |
//! |---|---|
//! | was never sent | sent elsewhere at once, as often as needed until the deadline; costs nothing |
//! | was refused unread (REFUSED_STREAM, GOAWAY) | sent elsewhere at once, the first time; then as the policy says |
//! | may have run (connection lost, reset) | as the policy says if the method is `idempotent`, else the call fails |
//! | answered with a status | as the policy says if the code is in `retryableStatusCodes` |
//! | answered with headers | never sent again (the call is committed; this rule is not asked) |
//!
//! "As the policy says": attempts are left, the throttle allows it, the server's pushback does not
//! forbid it; after the backoff, or after exactly the pushback. What cannot end before the deadline is
//! not begun. This file does no I/O and reads no clock.

use std::time::Duration;

use super::classify::Class;
use super::throttle::Throttle;
use crate::backoff::Delays;
use crate::code::Code;
use crate::config::{MethodConfig, Recovery, RetryPolicy};
use crate::entropy::Entropy;

/// How an attempt failed, as far as the rule cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// In the transport.
    Transport(Class),
    /// No endpoint could be reached at all.
    Unreachable,
    /// With a status from the server and no message.
    Status(Code, Pushback),
}

/// `grpc-retry-pushback-ms`: the server's own word on when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushback {
    Absent,
    After(Duration),
    /// Negative or unreadable: do not come back.
    Never,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send on another endpoint at once. Not counted as an attempt.
    Transparent,
    /// Send again after this wait, as the next attempt.
    Retry(Duration),
    /// The call has failed.
    Stop,
}

/// One call's position in its policy.
pub(crate) struct Retry<'a> {
    policy: Option<(&'a RetryPolicy, Delays)>,
    idempotent: bool,
    /// Attempts that failed so far, transparent ones not counted.
    failed_attempts: u32,
    used_free_retry: bool,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(config: &'a MethodConfig) -> Self {
        let policy = match &config.recovery {
            Recovery::Retry(policy) => Some((policy, Delays::new(policy.backoff))),
            Recovery::None | Recovery::Hedge(_) => None,
        };
        let idempotent = config.idempotent;
        Self { policy, idempotent, failed_attempts: 0, used_free_retry: false }
    }

    /// Attempts before the one to be sent now, for `grpc-previous-rpc-attempts`.
    pub(crate) fn previous_attempts(&self) -> u32 {
        self.failed_attempts
    }

    /// Decides after a failure. `replayable`: the request can still be sent from its beginning.
    pub(crate) fn decide(
        &mut self,
        failed: Failed,
        replayable: bool,
        throttle: &Throttle,
        entropy: &Entropy,
    ) -> Decision {
        if !replayable {
            return Decision::Stop;
        }
        match failed {
            Failed::Transport(Class::Unsent) => Decision::Transparent,
            Failed::Transport(Class::Unprocessed) if !self.used_free_retry => {
                self.used_free_retry = true;
                Decision::Transparent
            }
            Failed::Transport(Class::Unprocessed) => {
                self.by_policy(Pushback::Absent, throttle, entropy)
            }
            Failed::Transport(Class::Ambiguous) if self.idempotent => {
                self.by_policy(Pushback::Absent, throttle, entropy)
            }
            Failed::Transport(Class::Ambiguous | Class::Final) => Decision::Stop,
            Failed::Unreachable if self.retries(Code::Unavailable) => {
                self.by_policy(Pushback::Absent, throttle, entropy)
            }
            Failed::Status(code, pushback) if self.retries(code) => {
                self.by_policy(pushback, throttle, entropy)
            }
            Failed::Unreachable | Failed::Status(..) => Decision::Stop,
        }
    }

    fn retries(&self, code: Code) -> bool {
        self.policy.as_ref().is_some_and(|(policy, _)| policy.retryable.contains(code))
    }

    fn by_policy(
        &mut self,
        pushback: Pushback,
        throttle: &Throttle,
        entropy: &Entropy,
    ) -> Decision {
        let Some((policy, delays)) = &mut self.policy else { return Decision::Stop };
        self.failed_attempts += 1;
        // Every failure counts in the throttle, also one that nothing follows.
        let allowed = throttle.failed();
        if !allowed || self.failed_attempts >= policy.max_attempts {
            return Decision::Stop;
        }
        match pushback {
            Pushback::Never => Decision::Stop,
            Pushback::After(wait) => {
                delays.reset();
                Decision::Retry(wait)
            }
            Pushback::Absent => Decision::Retry(delays.next(entropy)),
        }
    }
}

impl Pushback {
    /// Reads `grpc-retry-pushback-ms`.
    pub(crate) fn read(headers: &http::HeaderMap) -> Self {
        let Some(value) = headers.get("grpc-retry-pushback-ms") else { return Self::Absent };
        let number = value.to_str().ok().and_then(|text| text.parse::<u32>().ok());
        number.map_or(Self::Never, |ms| Self::After(Duration::from_millis(u64::from(ms))))
    }
}
