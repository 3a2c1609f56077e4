//! What must hold between the two books. Pure.
//!
//! Each rule holds at every moment, also while orders are placed: the key is claimed before its money is reserved, and
//! order, decided key and outbox row are written in one transaction. So a difference that both databases showed at one
//! moment is a breach, however busy they are.

use std::time::Duration;

use serde::Serialize;

use crate::{
    facts::{Aged, Case, Name, Notice, Order, Reservation, State, Told},
    origin::Origin,
};

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long an outbox row may wait.
    pub outbox_age_max: Duration,
    /// Whether money that is held for nothing is a breach, though another caller may hold it.
    pub strict: bool,
}

/// What is to be said about a case.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The books agree.
    Sound,
    /// They do not.
    Breach {
        /// The invariant that is broken (ARCHITECTURE.md).
        invariant: &'static str,
        /// How.
        why: String,
    },
    /// They may not: the books alone do not tell.
    Suspect(&'static str),
}

/// A case that is worth a look, with the rows that show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The invariant, by its number.
    pub invariant: &'static str,
    /// Whose order.
    pub account: i64,
    /// Which.
    pub order: String,
    /// What is wrong.
    pub why: String,
}

/// Judges one case.
#[must_use]
pub fn judge(case: &Case, rules: Rules) -> Judgement {
    match judge_leniently(case, rules) {
        Judgement::Suspect(why) if rules.strict => breach("I6", why),
        judgement @ (Judgement::Sound | Judgement::Breach { .. } | Judgement::Suspect(_)) => {
            judgement
        }
    }
}

fn judge_leniently(case: &Case, rules: Rules) -> Judgement {
    if is_resolved(case) {
        return Judgement::Sound;
    }
    let waits = |told| waits(case, told, rules);
    match (&case.order, &case.reservation) {
        (Some(order), held) if order.row.cancelled => {
            cancelled(held.as_ref().map(|held| &held.row), waits(Told::Refund))
        }
        (Some(order), Some(held)) => placed(&order.row, &held.row, waits(Told::Capture)),
        (Some(_), None) => breach("I5", "is placed and has no reservation"),
        (None, Some(held)) => without_order(&held.row, case.undecided, waits(Told::Release)),
        (None, None) => Judgement::Sound,
    }
}

impl Finding {
    pub(crate) fn new(invariant: &'static str, name: Name, why: impl Into<String>) -> Self {
        let (account, order) = (name.account, name.id.to_string());
        Self { invariant, account, order, why: why.into() }
    }
}

/// Whether the outbox has such a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    No,
    InTime,
    TooLong,
}

fn waits(case: &Case, told: Told, rules: Rules) -> Waits {
    let mut rows = case.waiting.iter().filter(|notice| notice.row.action == told);
    match rows.next() {
        None => Waits::No,
        Some(notice) if is_overdue(notice, rules.outbox_age_max) => Waits::TooLong,
        Some(_) => Waits::InTime,
    }
}

/// What was refused will be refused again: it does not count as about to happen.
pub(crate) fn is_overdue(notice: &Aged<Notice>, outbox_age_max: Duration) -> bool {
    notice.row.refused || notice.age > outbox_age_max
}

/// Whether the difference is the one that a settlement would have made that people gave up
/// (`order-service settlements resolve`), and no other.
fn is_resolved(case: &Case) -> bool {
    let resolved = |told| case.resolved.contains(&told);
    let state = case.reservation.as_ref().map(|held| held.row.state);
    match (&case.order, state) {
        (_, Some(State::Held)) => false,
        (Some(order), Some(State::Captured)) if order.row.cancelled => resolved(Told::Refund),
        (Some(order), _) if order.row.cancelled => false,
        (Some(_), _) => {
            let returned = case.reservation.as_ref().is_some_and(|held| held.row.returned);
            resolved(Told::Capture) && !returned
        }
        (None, Some(State::Captured)) => resolved(Told::Release),
        (None, _) => false,
    }
}

/// A cancelled order owes nothing, and may have taken nothing.
fn cancelled(held: Option<&Reservation>, refund: Waits) -> Judgement {
    let state = held.map(|held| held.state);
    let left = held.map(Reservation::left).unwrap_or_default();
    let settled = state != Some(State::Held) && left.is_zero();
    match refund {
        Waits::No | Waits::InTime if settled => Judgement::Sound,
        // Told, and not deleted: `order-service verify` reports such a row.
        Waits::TooLong if settled && state == Some(State::Captured) => Judgement::Sound,
        Waits::InTime => Judgement::Sound,
        Waits::TooLong => breach("I5", "is cancelled, and its refund has waited too long"),
        Waits::No => breach("I5", format!("is cancelled, owes {left}, and no refund waits")),
    }
}

/// A placed order costs its amount. Of that a caller of the account service may have given back a part.
fn placed(order: &Order, held: &Reservation, capture: Waits) -> Judgement {
    match (held.state, capture) {
        (State::Held, Waits::InTime) => Judgement::Sound,
        (State::Held, Waits::TooLong) => {
            breach("I5", "is held, and its capture has waited too long")
        }
        (State::Held, Waits::No) => breach("I5", "is held, and no capture waits"),
        (State::Captured, _) if held.captured != order.amount => {
            breach("I5", format!("costs {}, captured {}", order.amount, held.captured))
        }
        // After a restore of the order database to a moment before the cancellation.
        (State::Captured, _) if held.returned => {
            breach("I5", "is placed, and a cancellation or a repair gave all of its money back")
        }
        (State::Captured, _) => Judgement::Sound,
        (State::Released | State::Expired | State::Declined, _) => {
            breach("I11", format!("is placed on a reservation that is {}", held.state.word()))
        }
    }
}

fn without_order(held: &Reservation, undecided: bool, release: Waits) -> Judgement {
    if held.origin == Origin::Foreign {
        return Judgement::Sound;
    }
    match held.state {
        State::Released | State::Expired | State::Declined => Judgement::Sound,
        State::Held if undecided => Judgement::Sound,
        State::Held => match release {
            Waits::InTime => Judgement::Sound,
            Waits::TooLong => breach("I6", "is held, and its release has waited too long"),
            Waits::No if held.origin == Origin::Ours => breach("I6", "is held for nothing"),
            Waits::No => Judgement::Suspect("is held without key and order, if it is ours at all"),
        },
        State::Captured if held.left().is_zero() => Judgement::Sound,
        // After a restore of the order database: the completer reserves again and learns that the money was taken.
        State::Captured if undecided => {
            Judgement::Suspect("is captured, and its key undecided: the completer will place it")
        }
        State::Captured => breach("I6", "was captured without an order"),
    }
}

fn breach(invariant: &'static str, why: impl Into<String>) -> Judgement {
    Judgement::Breach { invariant, why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{captured, held, ordered, waiting, without_order};

    const RULES: Rules = Rules { outbox_age_max: Duration::from_secs(3600), strict: false };

    fn broken(case: &Case) -> Option<&'static str> {
        match judge(case, RULES) {
            Judgement::Sound | Judgement::Suspect(_) => None,
            Judgement::Breach { invariant, .. } => Some(invariant),
        }
    }

    #[test]
    fn books_that_agree_are_sound() {
        for case in [
            ordered("10").on(captured("10", "0")),
            // A caller of the account service gave a part back, or all.
            ordered("10").on(captured("10", "4")),
            ordered("10").on(captured("10", "10")),
            ordered("10").on(held("10")).waits(Told::Capture),
            ordered("10").cancelled().on(captured("10", "10")),
            ordered("10").cancelled().on(captured("10", "4")).waits(Told::Refund),
            ordered("10").cancelled().on(held("10")).waits(Told::Refund),
            ordered("10").cancelled(),
            ordered("10").cancelled().on(held("10").state(State::Released)),
            without_order().on(held("10")).undecided(),
            without_order().on(held("10")).waits(Told::Release),
            without_order().on(held("10").state(State::Declined)),
            without_order().on(captured("10", "10")),
            without_order().on(held("10").origin(Origin::Foreign)),
            without_order().on(captured("10", "0").origin(Origin::Foreign)),
        ] {
            assert_eq!(judge(&case, RULES), Judgement::Sound, "{case:?}");
        }
    }

    #[test]
    fn books_that_do_not_agree_break_the_invariant_that_says_so() {
        for (case, invariant) in [
            (ordered("10"), "I5"),
            (ordered("10").on(held("10")), "I5"),
            (ordered("10").on(captured("9", "0")), "I5"),
            (ordered("10").on(captured("10", "10").returned()), "I5"),
            (ordered("10").cancelled().on(captured("10", "0")), "I5"),
            (ordered("10").cancelled().on(captured("10", "4")), "I5"),
            (ordered("10").cancelled().on(held("10")), "I5"),
            (ordered("10").on(held("10").state(State::Released)).waits(Told::Capture), "I11"),
            (ordered("10").on(held("10").state(State::Declined)), "I11"),
            (ordered("10").on(held("10").state(State::Expired)), "I11"),
            (without_order().on(held("10").origin(Origin::Ours)), "I6"),
            (without_order().on(captured("10", "0")), "I6"),
            (without_order().on(captured("10", "9")), "I6"),
        ] {
            assert_eq!(broken(&case), Some(invariant), "{case:?}");
        }
    }

    #[test]
    fn a_row_that_waits_for_ever_excuses_nothing() {
        let hours = Duration::from_secs(7200);
        for case in [
            ordered("10").on(held("10")).waits(Told::Capture),
            ordered("10").cancelled().on(captured("10", "4")).waits(Told::Refund),
            ordered("10").cancelled().waits(Told::Refund),
            without_order().on(held("10")).waits(Told::Release),
        ] {
            assert_eq!(broken(&case), None, "{case:?}");
            assert!(broken(&waiting(case.clone(), hours, false)).is_some(), "{case:?}");
            assert!(broken(&waiting(case.clone(), Duration::ZERO, true)).is_some(), "{case:?}");
        }
    }

    #[test]
    fn a_settlement_that_people_gave_up_excuses_its_own_difference_and_no_other() {
        let released = || held("10").state(State::Released);
        for case in [
            ordered("10").resolved(Told::Capture),
            ordered("10").on(released()).resolved(Told::Capture),
            ordered("10").on(captured("6", "0")).resolved(Told::Capture),
            ordered("10").cancelled().on(captured("10", "4")).resolved(Told::Refund),
            without_order().on(captured("10", "0")).resolved(Told::Release),
        ] {
            assert_eq!(judge(&case, RULES), Judgement::Sound, "{case:?}");
        }
        for case in [
            ordered("10").on(held("10")).resolved(Told::Capture),
            ordered("10").on(captured("10", "10").returned()).resolved(Told::Capture),
            ordered("10").on(released()).resolved(Told::Refund),
            ordered("10").cancelled().on(captured("10", "4")).resolved(Told::Capture),
            without_order().on(captured("10", "0")).resolved(Told::Capture),
        ] {
            assert!(broken(&case).is_some(), "{case:?}");
        }
    }

    #[test]
    fn what_only_may_be_ours_is_a_suspect_unless_asked_to_be_strict() {
        let strict = Rules { strict: true, ..RULES };
        for case in
            [without_order().on(held("10")), without_order().on(captured("10", "0")).undecided()]
        {
            assert!(matches!(judge(&case, RULES), Judgement::Suspect(_)), "{case:?}");
            assert!(matches!(judge(&case, strict), Judgement::Breach { invariant: "I6", .. }));
        }
    }
}
