//! What brings the books together again. Pure: `plan` reads cases and answers actions; [`crate::repair`] does them.
//!
//! The rules, in docs/restore.md's words:
//!
//! - An order is a promise to a caller, so it is paid for: what has no reservation is charged again, what is held is
//!   captured.
//! - Money that no order stands for is given back, unless the key is still undecided (the completer places the order)
//!   or its caller may yet ask again (`wait_for_retries`).
//! - A cancelled order gets back what is left of its money.
//! - A reservation that came to an end never comes back (I11), so an order on it is left to people.

use std::time::Duration;

use proto::Money;

use crate::{
    facts::{Case, Name, Order, Reservation, State, Told},
    origin::Origin,
    rules::{Judgement, Rules, judge},
};

/// What an operator knows that the books do not say.
#[derive(Debug, Clone, Copy)]
pub struct Knowledge {
    /// Money without an order is left alone while it is younger than this: the caller's retry of the same key finds it.
    pub wait_for_retries: Duration,
    /// No other program makes reservations that look like ours.
    pub sole_caller: bool,
}

/// One thing to do about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Which order.
    pub name: Name,
    /// What to do.
    pub step: Step,
    /// Why.
    pub why: &'static str,
}

/// What to do. Everything but the last two is one or two idempotent calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reserve this much again and capture it.
    Charge(Money),
    /// Capture what is held.
    Capture,
    /// Release what is held.
    Release,
    /// Give this much back.
    Refund(Money),
    /// Cancel the order.
    Cancel,
    /// Nothing: it comes about by itself.
    Wait,
    /// Nothing that a program may decide.
    ByHand,
}

/// What to do about these cases, account by account; what gives an account money back comes before what takes it. Sound
/// cases need nothing.
#[must_use]
pub fn plan(cases: &[Case], rules: Rules, knowledge: Knowledge) -> Vec<Action> {
    let unsound = cases.iter().filter(|case| judge(case, rules) != Judgement::Sound);
    let mut actions: Vec<_> = unsound
        .filter_map(|case| {
            let (step, why) = step(case, knowledge)?;
            Some(Action { name: case.name, step, why })
        })
        .collect();
    actions.sort_by_key(|action| (action.name.account, action.step.amount_taken().is_some()));
    actions
}

impl Step {
    /// Whether a service is called for it.
    #[must_use]
    pub fn is_a_call(self) -> bool {
        !matches!(self, Self::Wait | Self::ByHand)
    }

    /// For the output.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Charge(_) => "charge",
            Self::Capture => "capture",
            Self::Release => "release",
            Self::Refund(_) => "refund",
            Self::Cancel => "cancel",
            Self::Wait => "wait",
            Self::ByHand => "by hand",
        }
    }

    /// What it moves, where the books do not say it already.
    #[must_use]
    pub fn amount(self) -> Option<Money> {
        match self {
            Self::Charge(amount) | Self::Refund(amount) => Some(amount),
            Self::Capture | Self::Release | Self::Cancel | Self::Wait | Self::ByHand => None,
        }
    }

    /// What it needs to be available on the account.
    fn amount_taken(self) -> Option<Money> {
        match self {
            Self::Charge(amount) => Some(amount),
            Self::Capture
            | Self::Release
            | Self::Refund(_)
            | Self::Cancel
            | Self::Wait
            | Self::ByHand => None,
        }
    }
}

type Decided = Option<(Step, &'static str)>;

fn step(case: &Case, knowledge: Knowledge) -> Decided {
    let held = case.reservation.as_ref().map(|held| &held.row);
    match (&case.order, held) {
        (Some(order), held) if order.row.cancelled => cancelled(&order.row, held, case),
        (Some(order), None) => Some((
            Step::Charge(order.row.amount),
            "the order has no reservation: the account database lost it",
        )),
        (Some(order), Some(held)) => placed(&order.row, held),
        (None, Some(held)) => without_order(held, case, knowledge),
        (None, None) => None,
    }
}

fn cancelled(order: &Order, held: Option<&Reservation>, case: &Case) -> Decided {
    let refund_waits = case.waiting.iter().any(|notice| notice.row.action == Told::Refund);
    match held.map(|held| (held.state, held.left())) {
        Some((State::Captured, left)) => {
            Some((Step::Refund(left), "the order is cancelled and its money was not given back"))
        }
        // The refund in the outbox captures first; what is released meanwhile would be refused for ever.
        Some((State::Held, _)) if refund_waits => {
            Some((Step::Capture, "the order is cancelled, and its refund needs the capture"))
        }
        Some((State::Held, _)) => Some((Step::Release, "the order is cancelled and holds money")),
        Some((State::Released | State::Expired | State::Declined, _)) => Some((
            Step::ByHand,
            "the order is cancelled and took nothing, so its refund is refused for ever: resolve the outbox row",
        )),
        None => Some((
            Step::Charge(order.amount),
            "the order is cancelled, and the refund in the outbox needs the lost reservation",
        )),
    }
}

fn placed(order: &Order, held: &Reservation) -> Decided {
    match held.state {
        State::Held if held.amount == order.amount => {
            Some((Step::Capture, "the order's money is held and nothing captures it"))
        }
        State::Held => Some((Step::ByHand, "another amount is held than the order costs")),
        State::Captured if held.captured != order.amount => {
            Some((Step::ByHand, "another amount was captured than the order costs"))
        }
        State::Captured => Some((Step::Cancel, "the order's money was given back already")),
        State::Released | State::Expired | State::Declined => Some((
            Step::ByHand,
            "the order's reservation came to an end and cannot be held again: cancel the order, or collect otherwise",
        )),
    }
}

fn without_order(held: &Reservation, case: &Case, knowledge: Knowledge) -> Decided {
    let age = case.reservation.as_ref().map(|held| held.age).unwrap_or_default();
    let step = match held.state {
        State::Held => Step::Release,
        State::Captured => Step::Refund(held.left()),
        State::Released | State::Expired | State::Declined => return None,
    };
    if case.undecided {
        return Some((Step::Wait, "the key is undecided: the completer places the order"));
    }
    if age < knowledge.wait_for_retries {
        return Some((Step::Wait, "money without an order: its caller may yet ask again"));
    }
    let released = case.waiting.iter().any(|notice| notice.row.action == Told::Release);
    match held.origin {
        Origin::Foreign => None,
        Origin::Perhaps if !knowledge.sole_caller && !released => {
            Some((Step::ByHand, "money without an order, if it is ours: see --sole-caller"))
        }
        Origin::Perhaps | Origin::Ours => Some((step, "money without an order")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::{captured, held, money, ordered, waiting, without_order};

    const RULES: Rules = Rules { outbox_age_max: Duration::from_secs(3600), strict: false };
    const KNOWN: Knowledge = Knowledge { wait_for_retries: Duration::ZERO, sole_caller: true };
    const AGES: Duration = Duration::from_secs(86_400);

    fn steps(case: &Case, knowledge: Knowledge) -> Vec<Step> {
        let actions = plan(std::slice::from_ref(case), RULES, knowledge);
        actions.into_iter().map(|action| action.step).collect()
    }

    #[test]
    fn each_difference_has_its_step() {
        let refused = |case| waiting(case, Duration::ZERO, true);
        for (case, step) in [
            (ordered("10"), Step::Charge(money("10"))),
            (ordered("10").on(held("10")), Step::Capture),
            (refused(ordered("10").on(held("10")).waits(Told::Capture)), Step::Capture),
            (ordered("10").on(held("9")), Step::ByHand),
            (ordered("10").on(captured("9", "0")), Step::ByHand),
            (ordered("10").on(captured("10", "10").returned()), Step::Cancel),
            (ordered("10").on(held("10").state(State::Declined)), Step::ByHand),
            (ordered("10").on(held("10").state(State::Released)), Step::ByHand),
            (ordered("10").on(held("10").state(State::Expired)), Step::ByHand),
            (ordered("10").cancelled().on(captured("10", "4")), Step::Refund(money("6"))),
            (ordered("10").cancelled().on(held("10")), Step::Release),
            (refused(ordered("10").cancelled().on(held("10")).waits(Told::Refund)), Step::Capture),
            (refused(ordered("10").cancelled().waits(Told::Refund)), Step::Charge(money("10"))),
            (
                refused(
                    ordered("10")
                        .cancelled()
                        .on(held("10").state(State::Released))
                        .waits(Told::Refund),
                ),
                Step::ByHand,
            ),
            (without_order().on(captured("10", "4")), Step::Refund(money("6"))),
            (without_order().on(held("10")), Step::Release),
            (refused(without_order().on(held("10")).waits(Told::Release)), Step::Release),
            (without_order().on(captured("10", "0")).undecided(), Step::Wait),
        ] {
            assert_eq!(steps(&case, KNOWN), [step], "{case:?}");
        }
    }

    #[test]
    fn an_account_gets_its_money_back_before_it_is_charged() {
        let mut lost = without_order().on(captured("10", "0"));
        lost.name.id = uuid::Uuid::max();
        let actions = plan(&[ordered("10"), lost], RULES, KNOWN);
        let steps: Vec<_> = actions.into_iter().map(|action| action.step).collect();
        assert_eq!(steps, [Step::Refund(money("10")), Step::Charge(money("10"))]);
    }

    #[test]
    fn what_is_sound_or_foreign_is_left_alone() {
        for case in [
            ordered("10").on(captured("10", "0")),
            ordered("10").on(held("10")).waits(Told::Capture),
            ordered("10").cancelled(),
            without_order().on(held("10")).undecided(),
            without_order().on(captured("10", "10")),
            without_order().on(captured("10", "0").origin(Origin::Foreign)),
            without_order().on(held("10").origin(Origin::Foreign)),
        ] {
            assert_eq!(steps(&case, KNOWN), [], "{case:?}");
        }
    }

    #[test]
    fn money_that_may_be_another_callers_is_not_moved_unless_there_is_none() {
        let shared = Knowledge { sole_caller: false, ..KNOWN };
        for case in [without_order().on(captured("10", "0")), without_order().on(held("10"))] {
            assert_eq!(steps(&case, shared), [Step::ByHand], "{case:?}");
        }
        let ours = without_order().on(held("10").origin(Origin::Ours));
        assert_eq!(steps(&ours, shared), [Step::Release]);
    }

    #[test]
    fn a_callers_retry_goes_first_and_a_cancelled_or_placed_order_waits_for_none() {
        let patient = Knowledge { wait_for_retries: AGES, ..KNOWN };
        assert_eq!(steps(&without_order().on(captured("10", "0")), patient), [Step::Wait]);
        assert_eq!(steps(&ordered("10"), patient), [Step::Charge(money("10"))]);
    }

    /// What each step makes of a case, if nothing else happens meanwhile.
    fn done(case: &Case, step: Step) -> Case {
        let mut case = case.clone();
        let row = case.reservation.as_ref().map(|held| held.row.clone());
        match step {
            Step::Charge(amount) => {
                let text = amount.to_string();
                return case.on(captured(&text, "0"));
            }
            Step::Capture => {
                let row = row.unwrap();
                let captured = row.amount;
                case = case.on(Reservation { captured, ..row.state(State::Captured) });
            }
            Step::Release => case = case.on(row.unwrap().state(State::Released)),
            Step::Refund(_) => {
                let row = row.unwrap();
                let refunded = row.captured;
                case = case.on(Reservation { refunded, returned: true, ..row });
            }
            Step::Cancel => case = case.cancelled(),
            Step::Wait | Step::ByHand => {}
        }
        case
    }

    #[test]
    fn what_was_repaired_is_sound_and_needs_no_second_repair() {
        for case in [
            ordered("10"),
            ordered("10").on(held("10")),
            ordered("10").on(captured("10", "10").returned()),
            ordered("10").cancelled().on(captured("10", "4")),
            ordered("10").cancelled().on(held("10")),
            without_order().on(captured("10", "4")),
            without_order().on(held("10")),
        ] {
            let [step] = steps(&case, KNOWN)[..] else { panic!("{case:?}") };
            let after = done(&case, step);
            assert_eq!(judge(&after, RULES), Judgement::Sound, "{case:?} {step:?}");
            assert_eq!(steps(&after, KNOWN), []);
        }
    }
}
