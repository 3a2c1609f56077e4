//! Checks of tokens that are not known yet: how many of them may be in vain.
//!
//! A caller has to be known before its calls can be counted for it, so callers that never become known would pay for
//! nothing, while each call of theirs costs a signature check. Promised: of the tokens that are found bad no more than
//! [`IN_VAIN_MAX`] a [`PERIOD`] are checked, and of those that come from one address no more than half. A check takes a
//! place; a good token gives it back at once, a bad one keeps it for a period. Where no place is left, a token is
//! refused unchecked. Tokens that were found good before need no check and never notice.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::caller::CallerKey;
use crate::quota::{Full, Hold, Quota};

/// Bad tokens that are checked in one [`PERIOD`]: a check takes about a tenth of a millisecond, so together a twentieth
/// of a core.
pub(super) const IN_VAIN_MAX: usize = 512;

/// How long a bad token keeps its place.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Of what is free, what one address may take.
const SHARE_PERCENT: u32 = 50;

/// All places are taken, or all that this address may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyInVain;

#[derive(Debug)]
pub(super) struct Checks {
    places: Arc<Quota>,
    /// Places of bad tokens and since when, oldest first: no more than there are places.
    in_vain: Mutex<VecDeque<(Instant, Hold)>>,
}

impl Checks {
    pub(super) fn new() -> Self {
        Self { places: Quota::new(IN_VAIN_MAX, SHARE_PERCENT), in_vain: Mutex::default() }
    }

    /// A place for one check.
    pub(super) fn begin(&self, address: Option<IpAddr>) -> Result<Hold, TooManyInVain> {
        self.forgive();
        self.places.take(&CallerKey::of_peer(address), 1).map_err(|full| {
            crate::metrics::refused(match full {
                Full::Bound => "token_checks",
                Full::Share => "caller_token_checks",
            });
            TooManyInVain
        })
    }

    /// The token was bad.
    pub(super) fn was_in_vain(&self, place: Hold) {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        in_vain.push_back((Instant::now(), place));
    }

    fn forgive(&self) {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        while in_vain.pop_front_if(|(since, _)| since.elapsed() >= PERIOD).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    /// Checks bad tokens from an address until one is refused.
    fn waste(checks: &Checks, last: u8) -> usize {
        let places = std::iter::from_fn(|| checks.begin(address(last)).ok());
        places.map(|place| checks.was_in_vain(place)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn bad_tokens_take_half_of_the_checks_of_a_period_and_the_next_address_half_of_the_rest()
    {
        let checks = Checks::new();
        for _period in 0..3 {
            assert_eq!([waste(&checks, 1), waste(&checks, 2)], [256, 128]);
            assert!(checks.begin(address(3)).is_ok());
            tokio::time::advance(PERIOD - Duration::from_millis(1)).await;
            assert_eq!(checks.begin(address(1)).unwrap_err(), TooManyInVain);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn good_tokens_are_checked_without_end() {
        let checks = Checks::new();
        for _ in 0..10 * IN_VAIN_MAX {
            drop(checks.begin(address(1)).unwrap());
        }
        assert_eq!(waste(&checks, 1), IN_VAIN_MAX / 2);
    }
}
