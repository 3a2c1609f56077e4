//! What other callers gave back, what readers do not find, and what was lost with the database of orders.

use super::*;
use crate::chaos::history::Read;

/// `b` was cancelled; `a` was not.
fn refund(world: &mut World, order_id: &str, units: i64, answer: Answer) {
    let refund_id = format!("a part of {order_id}");
    world.state.refunds.insert((ACCOUNT, order_id.into(), refund_id.clone()), units);
    let (account, order_id) = (ACCOUNT, order_id.to_owned());
    world.tell(Call::Refund { account, order_id, refund_id, units }, answer);
}

#[test]
fn a_part_that_was_given_back_is_on_the_account_unless_all_of_the_order_is() {
    let mut world = World::sound();
    refund(&mut world, "o1", 5, Answer::Done);
    refund(&mut world, "o2", 7, Answer::Done);
    world.state.accounts = [(ACCOUNT, Account { balance: 1085, reserved: 40 })].into();
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn money_that_is_missing_after_a_partial_refund_and_a_cancel_is_seen() {
    breaks(Rule::MoneyAddsUp, &[], |world| {
        refund(world, "o2", 12, Answer::Done);
        world.state.accounts = [(ACCOUNT, Account { balance: 1062, reserved: 40 })].into();
    });
}

#[test]
fn a_refund_that_was_lost_is_seen() {
    breaks(Rule::RefundsAgree, &[], |world| {
        refund(world, "o2", 7, Answer::Done);
        world.state.refunds.clear();
    });
}

#[test]
fn an_order_that_one_of_its_readers_does_not_find_is_seen() {
    let read = || Call::Read(Read::Order { account: ACCOUNT, order_id: "o1".into() });
    breaks(Rule::FoundByAll, &[], |world| world.tell(read(), refused("ORDER_NOT_FOUND", "")));
    let mut world = World::sound();
    world.tell(read(), Answer::Done);
    assert_eq!(world.broken(), BTreeSet::new());
}

/// The orders were copied before `c` was refused, and `d`, that was placed since, was lost and is asked for again.
fn lose_d(world: &mut World, again: Answer) {
    let call = || place("d", Body::Amount(50));
    world.tell(call(), placed("o4", 50, false));
    world.tell(call(), Answer::Unknown("UNAVAILABLE".into()));
    world.state.restored = Some((35, 115));
    world.tell(call(), again);
}

fn have_d(world: &mut World, id: &str) {
    world.state.orders.push(order("d", id, 50, false));
    world.state.payments.insert(id.into(), "another payment".into());
    world.state.accounts = [(ACCOUNT, Account { balance: 1030, reserved: 40 })].into();
}

fn placed_again(id: &str) -> Answer {
    let (order_id, payment_id) = (id.to_owned(), "another payment".to_owned());
    Answer::Placed { order_id, payment_id, units: 50, replayed: false }
}

#[test]
fn an_order_that_was_lost_with_its_database_comes_back_with_its_id_and_another_payment() {
    let mut world = World::sound();
    lose_d(&mut world, placed_again("o4"));
    have_d(&mut world, "o4");
    assert_eq!(world.broken(), BTreeSet::new());
    world.state.restored = None;
    assert_eq!(world.broken(), BTreeSet::from([Rule::AcknowledgedSurvives, Rule::AnswersAgree]));
}

#[test]
fn an_order_that_comes_back_as_another_is_seen() {
    breaks(Rule::AnswersAgree, &[Rule::AcknowledgedSurvives], |world| {
        lose_d(world, placed_again("o5"));
        have_d(world, "o5");
    });
}

#[test]
fn an_order_that_does_not_come_back_is_seen_unless_its_money_was_given_back() {
    let no = || refused("PAYMENT_FAILED", "RESERVATION_REFUNDED");
    breaks(Rule::AcknowledgedSurvives, &[Rule::RefusalIsFinal], |world| lose_d(world, no()));
    let mut world = World::sound();
    lose_d(&mut world, no());
    refund(&mut world, "o4", 50, Answer::Done);
    assert_eq!(world.broken(), BTreeSet::new());
}

#[test]
fn what_was_told_before_the_copy_is_never_lost() {
    breaks(Rule::AcknowledgedSurvives, &[Rule::AnswersAgree], |world| {
        lose_d(world, placed_again("o4"));
        have_d(world, "o4");
        world.state.restored = Some((107, 115));
    });
}

/// `c` was refused, its lifetime ended, and another request placed an order under it: all but the refusal is lost.
#[test]
fn a_restored_refusal_speaks_for_its_key_again() {
    let world = |restored| {
        let mut world = World::sound();
        forget_c(&mut world, (60, 70));
        place_c(&mut world);
        world.state.orders.retain(|order| order.order_id != "o3");
        world.state.accounts = [(ACCOUNT, Account { balance: 1080, reserved: 40 })].into();
        refund(&mut world, "o3", 50, Answer::Done);
        world.tell(place("c", Body::Amount(50)), refused("IDEMPOTENCY_KEY_REUSED", ""));
        world.state.restored = restored;
        world.broken()
    };
    assert_eq!(world(Some((65, 107))), BTreeSet::new());

    // What was copied after the lifetime had ended does not bring the refusal back.
    assert_eq!(world(Some((75, 107))), BTreeSet::from([Rule::ReusedRunsNothing]));
}
