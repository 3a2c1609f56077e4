//! Checks of signatures that strangers ask for: how many of them may be in vain.
//!
//! A caller has to be known before its calls can be counted for it, so callers that never become known would pay for
//! nothing, while each call of theirs costs a signature check. What a token says of itself is read before; a token that is
//! malformed, expired, for others or of an unknown key comes here never, and takes no place from anybody.
//!
//! Promised:
//! - A connection that sent no forged token for [`ONE_FREE_EVERY`] has one check, whatever others do. So a stranger who
//!   shares an address with honest callers, as behind a balancer, does not keep them out: a connection costs it more than
//!   the check does, and connections are bounded (`--max-connections`, `--caller-share`).
//! - Beyond that no more than [`IN_VAIN_MAX`] forged tokens per [`PERIOD`] are checked, and of one address no more than
//!   its share (`--caller-share`). A check takes a place; a good token gives it back at once, a forged one keeps it for a
//!   period. Where no place is left, a token is refused unchecked, with a pushback.
//! - Tokens that were found good before need no check and never notice.
//!
//! Not promised: whoever shares a *connection* with the stranger (behind a proxy that mixes callers) shares its fate until
//! the period is over.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::caller::CallerKey;
use crate::quota::{Full, Hold, Quota};

/// Forged tokens that are checked in one [`PERIOD`]: a check takes about a tenth of a millisecond, so together a twentieth
/// of a core.
pub(super) const IN_VAIN_MAX: usize = 512;

/// How long a forged token keeps its place.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// How long one keeps the free check of its connection. With 4,096 connections of strangers these come to 800 checks a
/// second, less than a tenth of a core.
pub(super) const ONE_FREE_EVERY: Duration = Duration::from_secs(5);

/// All places are taken, or all that this address may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooManyInVain;

#[derive(Debug)]
pub(super) struct Checks {
    places: Arc<Quota>,
    /// Places of forged tokens and since when, oldest first: no more than there are places.
    in_vain: Mutex<VecDeque<(Instant, Hold)>>,
}

/// Since when a connection's free check is taken.
#[derive(Debug, Default)]
pub(crate) struct FreeCheck(Mutex<Option<Instant>>);

/// Leave to check one token. Given back when dropped, unless the token [was forged](Checks::was_in_vain).
#[derive(Debug)]
pub(super) enum Place<'connection> {
    Free(Taken<'connection>),
    Shared(Hold),
}

/// A connection's free check.
#[derive(Debug)]
pub(super) struct Taken<'connection> {
    check: &'connection FreeCheck,
    is_spent: bool,
}

impl Checks {
    pub(super) fn new(share_percent: u32) -> Self {
        Self { places: Quota::new(IN_VAIN_MAX, share_percent), in_vain: Mutex::default() }
    }

    /// A place for one check.
    pub(super) fn begin<'connection>(
        &self,
        address: Option<IpAddr>,
        free: &'connection FreeCheck,
    ) -> Result<Place<'connection>, TooManyInVain> {
        if let Some(taken) = free.take() {
            return Ok(Place::Free(taken));
        }

        self.forgive();
        let shared = self.places.take(&CallerKey::of_peer(address), 1);
        shared.map(Place::Shared).map_err(|full| {
            crate::metrics::refused(match full {
                Full::Bound => "token_checks",
                Full::Share => "caller_token_checks",
            });
            TooManyInVain
        })
    }

    /// The token was forged.
    pub(super) fn was_in_vain(&self, place: Place<'_>) {
        match place {
            Place::Free(mut taken) => taken.is_spent = true,
            Place::Shared(hold) => {
                let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
                in_vain.push_back((Instant::now(), hold));
            }
        }
    }

    fn forgive(&self) {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        while in_vain.pop_front_if(|(since, _)| since.elapsed() >= PERIOD).is_some() {}
    }
}

impl FreeCheck {
    fn take(&self) -> Option<Taken<'_>> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = since.is_some_and(|since| since.elapsed() < ONE_FREE_EVERY);
        if is_taken {
            return None;
        }
        *since = Some(Instant::now());
        Some(Taken { check: self, is_spent: false })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_spent {
            *self.check.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    /// Checks forged tokens from one connection of an address until one is refused.
    fn waste(checks: &Checks, free: &FreeCheck, last: u8) -> usize {
        let places = std::iter::from_fn(|| checks.begin(address(last), free).ok());
        places.map(|place| checks.was_in_vain(place)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn forged_tokens_take_half_of_the_checks_and_those_of_the_next_address_half_of_the_rest()
    {
        let checks = Checks::new(50);
        let connections = [FreeCheck::default(), FreeCheck::default()];
        for round in 0..3 {
            let free = usize::from(round == 0);
            let wasted = [waste(&checks, &connections[0], 1), waste(&checks, &connections[1], 2)];
            assert_eq!(wasted, [256 + free, 128 + free]);
            tokio::time::advance(PERIOD - Duration::from_millis(1)).await;
            let refused = checks.begin(address(1), &connections[0]).unwrap_err();
            assert_eq!(refused, TooManyInVain);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_the_share_that_callers_have() {
        let all = Checks::new(100);
        let connection = FreeCheck::default();
        assert_eq!(waste(&all, &connection, 1), IN_VAIN_MAX + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_forged_tokens_has_a_check_when_all_places_are_taken() {
        let checks = Checks::new(100);
        waste(&checks, &FreeCheck::default(), 1);
        let honest = FreeCheck::default();
        for _token in 0..10 {
            drop(checks.begin(address(1), &honest).unwrap());
        }

        checks.was_in_vain(checks.begin(address(1), &honest).unwrap());
        assert_eq!(checks.begin(address(1), &honest).unwrap_err(), TooManyInVain);
        tokio::time::advance(PERIOD).await;
        waste(&checks, &FreeCheck::default(), 1);
        tokio::time::advance(ONE_FREE_EVERY - PERIOD).await;
        assert!(checks.begin(address(1), &honest).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn good_tokens_are_checked_without_end() {
        let (checks, free) = (Checks::new(50), FreeCheck::default());
        let taken = free.take().unwrap();
        for _ in 0..10 * IN_VAIN_MAX {
            drop(checks.begin(address(1), &free).unwrap());
        }
        assert_eq!(waste(&checks, &free, 1), IN_VAIN_MAX / 2);
        drop(taken);
    }
}
