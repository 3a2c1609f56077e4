//! What a reservation that was there before its order means: pure.
//!
//! A fresh reservation needs no thought. One that was there before is this order's own, from an earlier worker of the
//! key, from an order that was lost with its database's last commits, or from an earlier life of the key.

use proto::Money;
use time::{Duration, OffsetDateTime};

use super::{decision::Verdict, key::REFUNDED};

/// What clocks of two databases and a completer's round add to the age of a claim.
const MARGIN: Duration = Duration::MINUTE;

/// A reservation as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked for.
    pub amount: Money,
    /// Whether the amount is held.
    pub is_held: bool,
    /// What was taken, as only an order that was placed does.
    pub captured: Money,
    /// What was given back of it.
    pub refunded: Money,
    /// How long ago it was made, by the ledger's clock. `None`: the ledger's time is not known.
    pub age: Option<Duration>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Decide the key by this verdict.
    Final(Verdict),
    /// The refusal is of an earlier life of the key: ask under the id of the next one.
    Outlived,
    /// The order was priced before: go on with the price that was reserved.
    Priced(Money),
}

/// From which age on a refusal is older than any claim that meets it: claims are decided within `give_up`.
///
/// A refusal that was lost with its key's row is outlived too. Nothing was taken for it, so that to ask again does no harm.
pub fn outlives(give_up: Duration) -> Duration {
    give_up + MARGIN
}

impl Reservation {
    /// Whether an order was placed on it and some of its money is still taken.
    pub fn is_paid(&self) -> bool {
        self.refunded < self.captured
    }
}

/// Judges what the ledger answered about a reservation of the order's own id that it had before. `mismatches`: it has
/// another amount, which for the same request can only mean that prices changed. `is_fresh`: the key was free until now, so
/// that a hold cannot be of an earlier worker of it.
pub fn judge(
    verdict: Verdict,
    mismatches: bool,
    is_fresh: bool,
    before: &Reservation,
    outlives: Duration,
) -> Standing {
    // Refused, or given back, or still held because nobody has told the ledger yet that it is to be given back.
    let is_left = before.age.is_some_and(|age| age >= outlives) && !before.is_paid();
    if is_left && (is_fresh || !before.is_held) {
        return Standing::Outlived;
    }
    if mismatches && (before.is_held || before.is_paid()) {
        return Standing::Priced(before.amount);
    }

    match verdict {
        // The order was cancelled before it was lost: it is not placed again for nothing.
        Verdict::Reserved if !before.refunded.is_zero() => {
            Standing::Final(Verdict::Declined { cause: REFUNDED.into() })
        }
        verdict @ (Verdict::Reserved | Verdict::Declined { .. } | Verdict::GaveUp) => {
            Standing::Final(verdict)
        }
    }
}

/// An age by the ledger's clock; never negative, though the reservation be a moment younger than the clock's reading.
pub fn age(created_at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    (now - created_at).max(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLIVES: Duration = Duration::minutes(16);

    fn money(text: &str) -> Money {
        Money::parse_or_zero(text).unwrap()
    }

    fn before(captured: &str, refunded: &str, age: impl Into<Option<Duration>>) -> Reservation {
        let (captured, refunded) = (money(captured), money(refunded));
        Reservation { amount: money("10"), is_held: false, captured, refunded, age: age.into() }
    }

    fn held(age: Duration) -> Reservation {
        Reservation { is_held: true, ..before("0", "0", age) }
    }

    fn declined() -> Verdict {
        Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() }
    }

    #[test]
    fn a_reservation_of_a_lost_order_pays_for_it_again_unless_it_was_given_back() {
        let judge = |refunded, age| {
            judge(Verdict::Reserved, false, true, &before("10", refunded, age), OUTLIVES)
        };
        let (young, old) = (Duration::MINUTE, Duration::days(9));
        let refunded = Standing::Final(Verdict::Declined { cause: REFUNDED.into() });
        assert_eq!(judge("0", young), Standing::Final(Verdict::Reserved));
        assert_eq!(judge("0", old), Standing::Final(Verdict::Reserved));
        assert_eq!(judge("4", old), refunded);
        assert_eq!(judge("10", young), refunded);
        assert_eq!(judge("10", old), Standing::Outlived);
    }

    #[test]
    fn a_hold_that_an_earlier_life_of_the_key_left_pays_for_nothing() {
        let judge = |is_fresh, age| judge(Verdict::Reserved, false, is_fresh, &held(age), OUTLIVES);
        assert_eq!(judge(true, Duration::MINUTE), Standing::Final(Verdict::Reserved));
        assert_eq!(judge(true, OUTLIVES), Standing::Outlived);
        // An earlier worker of this key held it, however long ago.
        assert_eq!(judge(false, OUTLIVES), Standing::Final(Verdict::Reserved));
    }

    #[test]
    fn a_refusal_of_this_claim_is_final_and_an_older_one_is_outlived_whatever_it_was_for() {
        for mismatches in [false, true] {
            let judge = |age: Option<Duration>| {
                judge(declined(), mismatches, false, &before("0", "0", age), OUTLIVES)
            };
            assert_eq!(judge(Some(Duration::SECOND)), Standing::Final(declined()));
            assert_eq!(judge(Some(OUTLIVES)), Standing::Outlived);
            assert_eq!(judge(None), Standing::Final(declined()));
        }
    }

    #[test]
    fn lines_whose_prices_changed_keep_the_price_that_was_reserved() {
        for before in [before("10", "0", Duration::HOUR), held(Duration::MINUTE)] {
            let judged = judge(declined(), true, true, &before, OUTLIVES);
            assert_eq!(judged, Standing::Priced(money("10")));
        }
    }
}
