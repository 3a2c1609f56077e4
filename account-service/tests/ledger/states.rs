//! The state machine, one rule a test.

use account_service::ledger::{Command, Receipt, Refusal, State};
use time::{Duration, OffsetDateTime};

use crate::{
    commands::{START, capture, deposit, money, open, refund, release, reserve, reserve_for},
    shelf::Shelf,
};

/// Runs one command a second after the last and gives its outcome.
struct Ledger {
    shelf: Shelf,
    now: OffsetDateTime,
}

impl Ledger {
    /// With account 1, opened with 100.
    fn with_100() -> Self {
        let mut ledger = Self { shelf: Shelf::default(), now: START };
        ledger.ok(open(1, "100"));
        ledger
    }

    fn run(&mut self, command: Command) -> Result<Receipt, Refusal> {
        self.now += Duration::seconds(1);
        let outcome = self.shelf.run(&[command], self.now).remove(0);
        self.shelf.check();
        outcome
    }

    fn ok(&mut self, command: Command) -> Receipt {
        self.run(command).unwrap()
    }

    fn refused(&mut self, command: Command) -> Refusal {
        self.run(command).unwrap_err()
    }

    fn state(&self, reserve: &str) -> State {
        let mut rows = self.shelf.reservations.values();
        rows.find(|row| row.reserve_id.as_str() == reserve).unwrap().state
    }

    /// Balance, reserved and available of account 1.
    fn amounts(&self) -> [String; 3] {
        let account = self.shelf.accounts.values().next().unwrap();
        [account.balance, account.reserved, account.available()].map(|money| money.to_string())
    }
}

#[test]
fn a_hold_lowers_what_is_available_and_a_capture_takes_it() {
    let mut ledger = Ledger::with_100();
    assert!(!ledger.ok(reserve(1, "r", "30")).replayed);
    assert_eq!(ledger.amounts(), ["100", "30", "70"]);
    assert!(!ledger.ok(capture(1, "r", "")).replayed);
    assert_eq!(ledger.amounts(), ["70", "0", "70"]);
}

#[test]
fn a_partial_capture_gives_the_rest_back() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "30"));
    ledger.ok(capture(1, "r", "10.5"));
    assert_eq!(ledger.amounts(), ["89.5", "0", "89.5"]);
    assert_eq!(ledger.refused(capture(1, "r", "")), Refusal::CaptureMismatch);
    assert_eq!(ledger.refused(capture(1, "r", "11")), Refusal::CaptureMismatch);
    assert!(ledger.ok(capture(1, "r", "10.5000")).replayed);
}

#[test]
fn more_than_is_held_is_not_captured() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "30"));
    let refusal = ledger.refused(capture(1, "r", "30.0001"));
    assert_eq!(refusal, Refusal::CaptureExceedsReservation);
    assert_eq!(ledger.state("r"), State::Held);
}

#[test]
fn a_decline_is_stored_and_outlives_a_deposit() {
    let mut ledger = Ledger::with_100();
    assert_eq!(ledger.refused(reserve(1, "r", "100.01")), Refusal::InsufficientFunds);
    ledger.ok(deposit(1, "d", "500"));
    assert_eq!(ledger.refused(reserve(1, "r", "100.01")), Refusal::InsufficientFunds);
    assert_eq!(ledger.refused(capture(1, "r", "")), Refusal::ReservationDeclined);
    assert!(ledger.ok(release(1, "r")).replayed);
    ledger.ok(reserve(1, "another", "100.01"));
}

#[test]
fn an_unknown_account_declines_for_ever_even_once_it_is_opened() {
    let mut ledger = Ledger::with_100();
    assert_eq!(ledger.refused(reserve(2, "r", "1")), Refusal::AccountNotFound);
    ledger.ok(open(2, "100"));
    assert_eq!(ledger.refused(reserve(2, "r", "1")), Refusal::AccountNotFound);
    ledger.ok(reserve(2, "another", "1"));
}

#[test]
fn a_reserve_id_belongs_to_one_amount_and_one_order() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve_for(1, "r", "order", "30", 60));
    for other in [reserve_for(1, "r", "order", "31", 60), reserve_for(1, "r", "else", "30", 60)] {
        assert_eq!(ledger.refused(other), Refusal::ReservationMismatch);
    }
    // The time is not part of it: a retry may ask for another.
    assert!(ledger.ok(reserve_for(1, "r", "order", "30.00", 90)).replayed);
    // Nor is the id taken on other accounts.
    ledger.ok(open(2, "50"));
    assert!(!ledger.ok(reserve_for(2, "r", "else", "31", 60)).replayed);
}

#[test]
fn a_declined_reserve_id_with_another_amount_is_a_mismatch() {
    let mut ledger = Ledger::with_100();
    ledger.refused(reserve(1, "r", "101"));
    assert_eq!(ledger.refused(reserve(1, "r", "1")), Refusal::ReservationMismatch);
}

#[test]
fn a_release_gives_back_once() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "30"));
    assert!(!ledger.ok(release(1, "r")).replayed);
    assert!(ledger.ok(release(1, "r")).replayed);
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);
    assert_eq!(ledger.refused(capture(1, "r", "")), Refusal::ReservationReleased);
    assert_eq!(ledger.refused(reserve(1, "r", "30")), Refusal::ReservationReleased);
}

#[test]
fn what_was_captured_is_not_released() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "30"));
    ledger.ok(capture(1, "r", ""));
    assert_eq!(ledger.refused(release(1, "r")), Refusal::ReservationCaptured);
    // A late retry of the Reserve still learns that it was accepted.
    assert!(ledger.ok(reserve(1, "r", "30")).replayed);
    assert_eq!(ledger.amounts(), ["70", "0", "70"]);
}

#[test]
fn releasing_an_unknown_reserve_id_leaves_a_tombstone() {
    let mut ledger = Ledger::with_100();
    for account in [1, 2] {
        let receipt = ledger.ok(release(account, "r"));
        assert!(!receipt.replayed);
        assert_eq!(receipt.account.is_some(), account == 1);
        assert!(ledger.ok(release(account, "r")).replayed);
        assert_eq!(ledger.refused(reserve(account, "r", "1")), Refusal::ReservationReleased);
        assert_eq!(ledger.refused(capture(account, "r", "")), Refusal::ReservationReleased);
    }
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);
}

#[test]
fn a_hold_ends_at_its_time_swept_or_not() {
    for command in [capture(1, "r", ""), reserve_for(1, "r", "o", "30", 3)] {
        let mut ledger = Ledger::with_100();
        ledger.ok(reserve_for(1, "r", "o", "30", 3));
        ledger.now += Duration::seconds(2);
        assert_eq!(ledger.refused(command), Refusal::ReservationExpired);
        assert_eq!(ledger.state("r"), State::Expired);
        assert_eq!(ledger.amounts(), ["100", "0", "100"]);
        assert!(ledger.ok(release(1, "r")).replayed);
    }
}

#[test]
fn a_hold_is_good_until_just_before_its_time() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve_for(1, "r", "o", "30", 3));
    ledger.now += Duration::microseconds(1_999_999);
    ledger.ok(capture(1, "r", ""));
}

#[test]
fn due_holds_make_room_before_a_reserve_is_declined() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve_for(1, "a", "o", "60", 2));
    ledger.ok(reserve_for(1, "b", "o", "40", 60));
    ledger.now += Duration::seconds(2);
    ledger.ok(reserve(1, "c", "60"));
    assert_eq!(ledger.state("a"), State::Expired);
    assert_eq!(ledger.amounts(), ["100", "100", "0"]);
    assert_eq!(ledger.refused(reserve(1, "d", "0.01")), Refusal::InsufficientFunds);
}

#[test]
fn refunds_add_up_to_what_was_captured_and_no_further() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "30"));
    assert_eq!(ledger.refused(refund(1, "r", "x", "1")), Refusal::ReservationNotCaptured);
    ledger.ok(capture(1, "r", "20"));
    ledger.ok(refund(1, "r", "x", "15"));
    assert!(ledger.ok(refund(1, "r", "x", "15")).replayed);
    assert_eq!(ledger.refused(refund(1, "r", "x", "14")), Refusal::RefundMismatch);
    assert_eq!(ledger.refused(refund(1, "r", "y", "5.0001")), Refusal::RefundExceedsCapture);
    ledger.ok(refund(1, "r", "y", "5"));
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);
    assert_eq!(ledger.refused(refund(1, "unseen", "x", "1")), Refusal::ReservationNotFound);
    assert_eq!(ledger.refused(refund(9, "r", "x", "1")), Refusal::AccountNotFound);
}

#[test]
fn an_empty_refund_gives_back_what_is_left_and_is_replayed_whatever_that_was() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "60"));
    assert_eq!(ledger.refused(refund(1, "r", "all", "")), Refusal::ReservationNotCaptured);
    ledger.ok(capture(1, "r", "50"));
    ledger.ok(refund(1, "r", "part", "20.5"));

    let rest = ledger.ok(refund(1, "r", "rest", ""));
    assert!(!rest.replayed);
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);

    for (refund_id, amount) in [("rest", ""), ("rest", "29.5"), ("part", "")] {
        assert!(ledger.ok(refund(1, "r", refund_id, amount)).replayed, "{refund_id} {amount}");
    }
    assert_eq!(ledger.refused(refund(1, "r", "rest", "29")), Refusal::RefundMismatch);
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);
}

#[test]
fn the_rest_of_nothing_is_given_back_without_a_trace() {
    let mut ledger = Ledger::with_100();
    ledger.ok(reserve(1, "r", "60"));
    ledger.ok(capture(1, "r", ""));
    let lines = ledger.ok(refund(1, "r", "whole", "60")).account.unwrap().entries;

    for _ in 0..2 {
        let rest = ledger.ok(refund(1, "r", "rest", ""));
        assert!(!rest.replayed);
        assert_eq!(rest.account.unwrap().entries, lines);
    }
    // Its refund_id is as free as before.
    assert_eq!(ledger.refused(refund(1, "r", "rest", "1")), Refusal::RefundExceedsCapture);
    assert_eq!(ledger.amounts(), ["100", "0", "100"]);
}

#[test]
fn an_account_is_opened_once_and_the_same_way() {
    let mut ledger = Ledger::with_100();
    ledger.ok(deposit(1, "d", "1"));
    let again = ledger.ok(open(1, "100.0"));
    assert!(again.replayed);
    assert_eq!(again.account.unwrap().balance, money("101"));
    assert_eq!(ledger.refused(open(1, "101")), Refusal::AccountAlreadyExists);
}

#[test]
fn a_deposit_counts_once_and_keeps_its_amount() {
    let mut ledger = Ledger::with_100();
    assert!(!ledger.ok(deposit(1, "d", "5")).replayed);
    assert!(ledger.ok(deposit(1, "d", "5")).replayed);
    assert_eq!(ledger.refused(deposit(1, "d", "6")), Refusal::DepositMismatch);
    assert_eq!(ledger.refused(deposit(9, "d", "5")), Refusal::AccountNotFound);
    assert_eq!(ledger.amounts(), ["105", "0", "105"]);
}

#[test]
fn no_account_holds_more_than_the_limit() {
    let mut ledger = Ledger::with_100();
    for n in 0..8 {
        ledger.ok(deposit(1, &format!("d{n}"), "100000000000000"));
    }
    let refusal = ledger.refused(deposit(1, "last", "100000000000000"));
    assert_eq!(refusal, Refusal::BalanceLimitExceeded);
    // Nothing was stored: the same deposit may be made once there is room.
    ledger.ok(reserve(1, "r", "100"));
    ledger.ok(capture(1, "r", ""));
    assert!(!ledger.ok(deposit(1, "last", "100000000000000")).replayed);
    assert_eq!(ledger.refused(refund(1, "r", "x", "1")), Refusal::BalanceLimitExceeded);
}

#[test]
fn duplicates_inside_a_batch_are_replays() {
    let mut shelf = Shelf::default();
    let batch = [
        open(1, "10"),
        open(1, "10"),
        reserve(1, "r", "6"),
        reserve(1, "r", "6"),
        reserve(1, "s", "6"),
        capture(1, "r", ""),
        capture(1, "r", ""),
        deposit(1, "d", "5"),
        deposit(1, "d", "5"),
    ];
    let outcomes = shelf.run(&batch, START);
    let replayed: Vec<_> = outcomes.iter().map(|o| o.as_ref().map(|r| r.replayed)).collect();
    let short = Err(&Refusal::InsufficientFunds);
    let (first, again) = (Ok(false), Ok(true));
    assert_eq!(replayed, [first, again, first, again, short, first, again, first, again]);
    shelf.check();
}
