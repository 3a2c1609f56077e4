//! What a reservation that was there before its order means: pure.
//!
//! A fresh reservation needs no thought. One that was there before is this order's own, from an earlier worker of the
//! key, from an order that was lost with its database's last commits, or from an earlier life of the key.

use proto::Money;
use time::{Duration, OffsetDateTime};

use super::{decision::Verdict, request::Basket};

/// The cause of a decline when the money was given back before the order was placed again.
pub const REFUNDED: &str = "RESERVATION_REFUNDED";

/// A reservation as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked for.
    pub amount: Money,
    /// What was given back of what was taken.
    pub refunded: Money,
    /// Whether the amount is held or was taken.
    pub is_good: bool,
    /// Whether it was taken.
    pub is_captured: bool,
    /// How long ago it was made, by the ledger's clock.
    pub age: Duration,
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

/// How old a refusal must be to be of an earlier life. A key's row is older than its refusal by `give_up` at most.
pub fn outlives(lifetime: Duration, give_up: Duration) -> Duration {
    lifetime - give_up
}

/// Judges what the ledger answered about a reservation of the order's own id that it had before.
pub fn judge(
    verdict: Verdict,
    mismatches: bool,
    basket: &Basket,
    before: &Reservation,
    outlives: Duration,
) -> Standing {
    if mismatches {
        // The price of products may have changed since. Another plain amount is another request.
        return match basket {
            Basket::Lines(_) if before.is_good => Standing::Priced(before.amount),
            Basket::Lines(_) | Basket::Amount(_) => Standing::Final(verdict),
        };
    }

    match verdict {
        Verdict::Reserved if before.refunded.is_zero() => Standing::Final(Verdict::Reserved),
        // The order was cancelled before it was lost: it is not placed again for nothing.
        Verdict::Reserved => Standing::Final(Verdict::Declined { cause: REFUNDED.into() }),
        Verdict::Declined { .. } if before.age >= outlives => Standing::Outlived,
        Verdict::Declined { .. } | Verdict::GaveUp => Standing::Final(verdict),
    }
}

/// An age by the ledger's clock; never negative, though the reservation be a moment younger than the clock's reading.
pub fn age(created_at: OffsetDateTime, now: OffsetDateTime) -> Duration {
    (now - created_at).max(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::request::Line;

    const LIFE: Duration = Duration::days(2);

    fn money(text: &str) -> Money {
        Money::parse_or_zero(text).unwrap()
    }

    fn before(refunded: &str, is_good: bool, age: Duration) -> Reservation {
        Reservation {
            amount: money("10"),
            refunded: money(refunded),
            is_good,
            is_captured: false,
            age,
        }
    }

    fn declined() -> Verdict {
        Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() }
    }

    fn lines() -> Basket {
        let product_id = proto::id::ProductId::new(1).unwrap();
        Basket::of_lines(vec![Line { product_id, quantity: 1 }])
    }

    fn amount() -> Basket {
        Basket::Amount(money("10"))
    }

    #[test]
    fn a_reservation_of_a_lost_order_pays_for_it_again_unless_it_was_given_back() {
        let judge = |refunded| {
            let before = before(refunded, true, Duration::HOUR);
            judge(Verdict::Reserved, false, &amount(), &before, LIFE)
        };
        assert_eq!(judge("0"), Standing::Final(Verdict::Reserved));
        let refunded = Verdict::Declined { cause: REFUNDED.into() };
        assert_eq!(judge("10"), Standing::Final(refunded.clone()));
        assert_eq!(judge("4"), Standing::Final(refunded));
    }

    #[test]
    fn a_refusal_is_final_within_the_lifetime_of_a_key_and_outlived_after_it() {
        let judge = |age| judge(declined(), false, &amount(), &before("0", false, age), LIFE);
        assert_eq!(judge(Duration::HOUR), Standing::Final(declined()));
        assert_eq!(judge(LIFE), Standing::Outlived);
    }

    #[test]
    fn lines_keep_the_price_that_was_reserved_and_another_amount_is_another_request() {
        let judge = |basket, is_good| {
            judge(declined(), true, &basket, &before("0", is_good, Duration::HOUR), LIFE)
        };
        assert_eq!(judge(lines(), true), Standing::Priced(money("10")));
        assert_eq!(judge(lines(), false), Standing::Final(declined()));
        assert_eq!(judge(amount(), true), Standing::Final(declined()));
    }
}
