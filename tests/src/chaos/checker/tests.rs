//! Each rule has a history that keeps it and one that breaks it, and only it.

mod lost;

use std::collections::BTreeSet;

use super::*;
use crate::chaos::state::{Account, Order, Reservation};

const ACCOUNT: i64 = 1;

/// A run in which all went well: an order that was replayed, one cancelled, one refused, a decline, a release, a
/// deposit.
struct World {
    opening: Opening,
    history: Vec<Operation>,
    state: State,
}

impl World {
    fn sound() -> Self {
        let opening =
            Opening { balances: [(ACCOUNT, 1000)].into(), products: [(5, (10, 50))].into() };
        let mut world = Self { opening, history: Vec::new(), state: State::default() };
        world.tell(place("a", Body::Pieces(5, 2)), placed("o1", 20, false));
        world.tell(place("a", Body::Pieces(5, 2)), placed("o1", 20, true));
        world.tell(place("b", Body::Amount(30)), placed("o2", 30, false));
        world.tell(cancel("o2"), Answer::Done);
        world.tell(place("c", Body::Amount(9999)), refused("PAYMENT_FAILED", "INSUFFICIENT_FUNDS"));
        world.tell(reserve("poor", 9999), refused("INSUFFICIENT_FUNDS", ""));
        world.tell(release("never"), Answer::Done);
        world.tell(reserve("never", 7), refused("RESERVATION_RELEASED", ""));
        world.tell(reserve("mine", 40), Answer::Done);
        world.tell(deposit("d", 100), Answer::Done);
        world.state.orders = vec![order("a", "o1", 20, false), order("b", "o2", 30, true)];
        world.state.payments =
            ["o1", "o2"].map(|id| (id.to_owned(), format!("payment of {id}"))).into();
        for (id, state, units) in [
            ("o1", "CAPTURED", 20),
            ("o2", "CAPTURED", 30),
            ("poor", "DECLINED", 9999),
            ("never", "RELEASED", 0),
            ("mine", "HELD", 40),
        ] {
            world.reserved(id, state, units);
        }
        world.state.deposits = [((ACCOUNT, "d".to_owned()), 100)].into();
        world.state.accounts = [(ACCOUNT, Account { balance: 1080, reserved: 40 })].into();
        world.state.stock = [(5, 48)].into();
        world
    }

    fn tell(&mut self, call: Call, answer: Answer) {
        let sent_us = 10 * self.history.len() as u64;
        self.history.push(Operation { sent_us, answered_us: sent_us + 5, pod: 0, call, answer });
    }

    fn reserved(&mut self, id: &str, state: &str, units: i64) {
        let stored = Reservation { state: state.to_owned(), units };
        self.state.reservations.insert((ACCOUNT, id.to_owned()), stored);
    }

    fn broken(&self) -> BTreeSet<Rule> {
        let Self { opening, history, state } = self;
        check(Case { opening, history, state }).into_iter().map(|breach| breach.rule).collect()
    }
}

fn place(key: &str, body: Body) -> Call {
    Call::Place { account: ACCOUNT, key: key.to_owned(), body, reject: false }
}

fn place_once(key: &str, body: Body) -> Call {
    Call::Place { account: ACCOUNT, key: key.to_owned(), body, reject: true }
}

fn cancel(order_id: &str) -> Call {
    Call::Cancel { account: ACCOUNT, order_id: order_id.to_owned() }
}

fn reserve(id: &str, units: i64) -> Call {
    let (reserve_id, order_id) = (id.to_owned(), "of others".to_owned());
    Call::Reserve { account: ACCOUNT, reserve_id, order_id, units }
}

fn release(id: &str) -> Call {
    Call::Release { account: ACCOUNT, reserve_id: id.to_owned() }
}

fn deposit(id: &str, units: i64) -> Call {
    Call::Deposit { account: ACCOUNT, deposit_id: id.to_owned(), units }
}

fn placed(id: &str, units: i64, replayed: bool) -> Answer {
    let (order_id, payment_id) = (id.to_owned(), format!("payment of {id}"));
    Answer::Placed { order_id, payment_id, units, replayed }
}

fn refused(reason: &str, detail: &str) -> Answer {
    Answer::Refused { reason: reason.to_owned(), detail: detail.to_owned() }
}

fn order(key: &str, id: &str, units: i64, cancelled: bool) -> Order {
    Order { account: ACCOUNT, key: key.to_owned(), order_id: id.to_owned(), units, cancelled }
}

/// The rule is broken by this change to a sound run, and so are at most these others.
fn breaks(rule: Rule, others: &[Rule], change: impl FnOnce(&mut World)) {
    let mut world = World::sound();
    change(&mut world);
    let broken = world.broken();
    let allowed: BTreeSet<_> = others.iter().copied().chain([rule]).collect();
    assert!(broken.contains(&rule), "{rule:?} was not seen: {broken:?}");
    assert!(broken.is_subset(&allowed), "{rule:?}: {broken:?}");
}

#[test]
fn a_sound_run_breaks_nothing() {
    assert_eq!(World::sound().broken(), BTreeSet::new());
}

#[test]
fn an_unknown_answer_may_have_done_it_or_not() {
    let mut world = World::sound();
    let unknown = || Answer::Unknown("UNAVAILABLE".into());
    world.tell(place("x", Body::Amount(1)), unknown());
    world.tell(place("y", Body::Amount(2)), unknown());
    world.tell(deposit("e", 3), unknown());
    world.tell(deposit("f", 4), unknown());
    world.tell(cancel("o1"), unknown());
    world.tell(reserve("z", 5), unknown());
    world.state.orders.push(order("y", "o3", 2, false));
    world.state.deposits.insert((ACCOUNT, "f".into()), 4);
    world.reserved("z", "HELD", 5);
    world.state.accounts = [(ACCOUNT, Account { balance: 1082, reserved: 45 })].into();
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn a_told_order_that_is_gone_is_seen() {
    breaks(Rule::AcknowledgedSurvives, &[Rule::MoneyAddsUp, Rule::StockAddsUp], |world| {
        world.state.orders.remove(0);
    });
    breaks(Rule::AcknowledgedSurvives, &[], |world| {
        world.state.payments.insert("o1".into(), "another".into());
    });
}

/// Key `c` was refused at 40..45.
fn forget_c(world: &mut World, span: (u64, u64)) {
    world.state.forgotten.insert((ACCOUNT, "c".into()), vec![span]);
}

/// At 100..105, by another request.
fn place_c(world: &mut World) {
    world.tell(place("c", Body::Amount(50)), placed("o3", 50, false));
    world.state.orders.push(order("c", "o3", 50, false));
    world.state.payments.insert("o3".into(), "payment of o3".into());
    world.reserved("o3", "CAPTURED", 50);
    world.state.accounts = [(ACCOUNT, Account { balance: 1030, reserved: 40 })].into();
}

#[test]
fn a_refused_key_whose_lifetime_is_over_has_a_new_life() {
    let mut world = World::sound();
    forget_c(&mut world, (60, 70));
    place_c(&mut world);
    assert_eq!(world.broken(), BTreeSet::new());
    world.tell(place("c", Body::Amount(9999)), refused("IDEMPOTENCY_KEY_REUSED", ""));
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn a_refused_key_may_be_refused_for_another_reason_in_its_next_life() {
    let mut world = World::sound();
    world.tell(place("c", Body::Amount(9999)), refused("PAYMENT_FAILED", "ACCOUNT_NOT_FOUND"));
    assert_eq!(world.broken(), BTreeSet::from([Rule::RefusalIsFinal]));
    forget_c(&mut world, (60, 70));
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn within_its_lifetime_a_refused_key_places_nothing() {
    let others = [Rule::ReusedRunsNothing];
    // Never forgotten; only before it was refused; only after it had placed an order.
    for span in [None, Some((10, 30)), Some((110, 120))] {
        breaks(Rule::RefusalIsFinal, &others, |world| {
            place_c(world);
            span.into_iter().for_each(|span| forget_c(world, span));
        });
    }
    // Refused again once it had placed an order.
    breaks(Rule::RefusalIsFinal, &others, |world| {
        forget_c(world, (60, 70));
        place_c(world);
        world.tell(place("c", Body::Amount(50)), refused("PAYMENT_FAILED", "INSUFFICIENT_FUNDS"));
    });
}

#[test]
fn two_orders_by_one_key_are_seen() {
    breaks(Rule::OneOrderAKey, &[Rule::MoneyAddsUp, Rule::StockAddsUp], |world| {
        world.state.orders.push(order("a", "o9", 20, false));
    });
}

#[test]
fn two_answers_to_one_key_are_seen() {
    breaks(Rule::AnswersAgree, &[Rule::AcknowledgedSurvives], |world| {
        world.tell(place("a", Body::Pieces(5, 2)), placed("o9", 20, true));
    });
    breaks(Rule::AnswersAgree, &[Rule::AcknowledgedSurvives], |world| {
        world.tell(place_once("a", Body::Pieces(5, 2)), refused("PAYMENT_ALREADY_PROCESSED", "o9"));
    });
}

#[test]
fn a_refusal_that_does_not_last_is_seen() {
    breaks(Rule::RefusalIsFinal, &[Rule::MoneyAddsUp], |world| {
        world.state.orders.push(order("c", "o9", 9999, false));
    });
    breaks(Rule::RefusalIsFinal, &[], |world| {
        world.tell(place("c", Body::Amount(9999)), refused("PAYMENT_FAILED", "TIMED_OUT"));
    });
}

#[test]
fn a_reused_key_that_ran_is_seen() {
    breaks(Rule::ReusedRunsNothing, &[], |world| {
        world.tell(place("a", Body::Pieces(5, 2)), refused("IDEMPOTENCY_KEY_REUSED", ""));
    });
    let mut world = World::sound();
    world.tell(place("a", Body::Amount(3)), refused("IDEMPOTENCY_KEY_REUSED", ""));
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn a_request_that_stands_in_for_the_keys_owner_is_seen() {
    breaks(Rule::ReusedRunsNothing, &[], |world| {
        world.tell(place_once("a", Body::Amount(3)), refused("DUPLICATE_PAYMENT_REQUEST", ""));
    });
    breaks(Rule::ReusedRunsNothing, &[], |world| {
        world.tell(place("b", Body::Amount(31)), placed("o2", 30, true));
    });
}

#[test]
fn a_replay_that_is_refused_as_a_duplicate_is_seen() {
    for (reason, order_id) in
        [("DUPLICATE_PAYMENT_REQUEST", ""), ("PAYMENT_ALREADY_PROCESSED", "o1")]
    {
        let answer = refused(reason, order_id);
        breaks(Rule::NoDefect, &[], |world| {
            world.tell(place("a", Body::Pieces(5, 2)), answer.clone());
        });
        let mut world = World::sound();
        world.tell(place_once("a", Body::Pieces(5, 2)), answer);
        assert_eq!(world.broken(), BTreeSet::new());
    }
}

#[test]
fn an_order_that_nobody_asked_for_is_seen() {
    breaks(Rule::OrderIsAsAsked, &[Rule::MoneyAddsUp], |world| {
        world.state.orders.push(order("nobody's", "o9", 20, false));
    });
}

#[test]
fn a_cancel_that_does_not_stand_is_seen() {
    breaks(Rule::CancelSurvives, &[Rule::MoneyAddsUp], |world| {
        world.state.orders[1].cancelled = false;
    });
    breaks(Rule::CancelSurvives, &[Rule::MoneyAddsUp, Rule::StockAddsUp], |world| {
        world.state.orders[0].cancelled = true;
    });
}

#[test]
fn a_declined_id_that_is_accepted_later_is_seen() {
    breaks(Rule::DeclineIsFinal, &[], |world| world.tell(reserve("poor", 9999), Answer::Done));
    breaks(Rule::DeclineIsFinal, &[], |world| {
        world.state.reservations.remove(&(ACCOUNT, "poor".into()));
    });
}

#[test]
fn a_released_id_that_is_accepted_later_is_seen() {
    breaks(Rule::ReleaseIsFinal, &[], |world| world.tell(reserve("never", 7), Answer::Done));
    breaks(Rule::ReleaseIsFinal, &[Rule::MoneyAddsUp], |world| world.reserved("never", "HELD", 7));
}

#[test]
fn a_deposit_that_was_lost_or_made_up_is_seen() {
    breaks(Rule::DepositsAgree, &[Rule::MoneyAddsUp], |world| world.state.deposits.clear());
    breaks(Rule::DepositsAgree, &[Rule::MoneyAddsUp], |world| {
        world.state.deposits.insert((ACCOUNT, "d".into()), 101);
    });
}

#[test]
fn a_defect_that_was_answered_is_seen() {
    breaks(Rule::NoDefect, &[], |world| {
        world.tell(place("i", Body::Amount(1)), refused("INTERNAL", ""));
    });
}

#[test]
fn what_was_left_is_seen() {
    breaks(Rule::NothingLeft, &[], |world| world.state.undecided.push((ACCOUNT, "a".into())));
    breaks(Rule::NothingLeft, &[], |world| {
        world.state.waiting.push((ACCOUNT, "o1".into(), "CAPTURE".into()));
    });
}

#[test]
fn money_held_for_nobody_is_seen() {
    breaks(Rule::NothingHeldForNothing, &[], |world| {
        world.reserved("o7", "HELD", 7);
        world.state.accounts = [(ACCOUNT, Account { balance: 1080, reserved: 47 })].into();
    });
}

#[test]
fn sums_that_do_not_agree_are_seen() {
    breaks(Rule::MoneyAddsUp, &[], |world| {
        world.state.accounts = [(ACCOUNT, Account { balance: 1079, reserved: 40 })].into();
    });
    breaks(Rule::StockAddsUp, &[], |world| {
        world.state.stock.insert(5, 47);
    });
}

#[test]
fn the_smallest_history_comes_first() {
    let mut world = World::sound();
    world.tell(place("a", Body::Pieces(5, 2)), placed("o9", 20, true));
    world.tell(place("i", Body::Amount(1)), refused("INTERNAL", ""));
    let World { opening, history, state } = &world;
    let breaches = check(Case { opening, history, state });
    assert!(breaches.is_sorted_by_key(|breach| breach.history.len()));
    let agree = breaches.iter().find(|breach| breach.rule == Rule::AnswersAgree).unwrap();
    assert_eq!(agree.history.len(), 3, "only that key's: {agree:?}");
}
