//! Amounts and their currency: what is refused, and what a version before left behind is not.

use account_service::ledger::{Command, Receipt, Refusal, State};
use proto::Currency;
use time::Duration;

use crate::{
    commands::{
        START, account, capture, currency, deposit, money, open, open_in, refund, release, reserve,
        reserve_in,
    },
    shelf::Shelf,
};

fn run(shelf: &mut Shelf, command: Command) -> Result<Receipt, Refusal> {
    let outcome = shelf.run(&[command], START + Duration::seconds(1)).remove(0);
    shelf.check();
    outcome
}

/// A shelf with account 1, opened with 100 in this currency.
fn in_currency(code: &str) -> Shelf {
    let mut shelf = Shelf::default();
    run(&mut shelf, open_in(currency(code), 1, money("100"))).unwrap();
    shelf
}

/// Account 1 in dollars as the version before could leave it: 100.0005, of which `r` holds 10.0003, and of `c` 10.0001
/// was captured.
fn of_the_version_before() -> Shelf {
    let mut shelf = Shelf::default();
    for command in [
        open_in(currency("XAU"), 1, money("110.0006")),
        reserve(1, "r", "10.0003"),
        reserve(1, "c", "10.0001"),
        capture(1, "c", ""),
    ] {
        run(&mut shelf, command).unwrap();
    }
    shelf.accounts.get_mut(&account(1)).unwrap().currency = Currency::USD;
    shelf
}

#[test]
fn a_reserve_in_another_currency_holds_nothing_and_is_declined_for_ever() {
    let mut shelf = in_currency("EUR");
    let declined = Err(Refusal::CurrencyMismatch);
    assert_eq!(run(&mut shelf, reserve_in("USD", 1, "r", "1")), declined);
    assert!(shelf.accounts[&account(1)].reserved.is_zero());

    // Whichever currency the same reserve_id comes with next.
    assert_eq!(run(&mut shelf, reserve_in("EUR", 1, "r", "1")), declined);
    assert_eq!(run(&mut shelf, reserve(1, "r", "1")), declined);
    assert_eq!(run(&mut shelf, capture(1, "r", "")), Err(Refusal::ReservationDeclined));

    run(&mut shelf, reserve_in("EUR", 1, "s", "1")).unwrap();
}

#[test]
fn a_hold_keeps_its_answer_whichever_currency_its_retry_names() {
    let mut shelf = in_currency("EUR");
    run(&mut shelf, reserve(1, "r", "1")).unwrap();
    for again in [reserve_in("EUR", 1, "r", "1"), reserve_in("USD", 1, "r", "1")] {
        assert!(run(&mut shelf, again).unwrap().replayed);
    }
}

#[test]
fn an_amount_is_a_whole_number_of_minor_units_in_every_command() {
    for (code, fits, finer) in
        [("KRW", "1", "0.1"), ("USD", "0.01", "0.001"), ("BHD", "0.001", "0.0001")]
    {
        let too_fine = Err(Refusal::AmountPrecision);
        let mut shelf = in_currency(code);
        assert_eq!(run(&mut shelf, deposit(1, "d", finer)), too_fine, "{code}");
        run(&mut shelf, deposit(1, "d", fits)).unwrap();
        assert_eq!(run(&mut shelf, reserve(1, "fine", finer)), too_fine, "{code}");
        assert_eq!(run(&mut shelf, reserve_in(code, 1, "finer", finer)), too_fine, "{code}");
        run(&mut shelf, reserve(1, "r", "2")).unwrap();
        assert_eq!(run(&mut shelf, capture(1, "r", finer)), too_fine, "{code}");
        run(&mut shelf, capture(1, "r", "1")).unwrap();
        assert_eq!(run(&mut shelf, refund(1, "r", "x", finer)), too_fine, "{code}");
        run(&mut shelf, refund(1, "r", "x", "1")).unwrap();

        let opening = open_in(currency(code), 2, money(finer));
        assert_eq!(run(&mut shelf, opening), Err(Refusal::OpeningBalancePrecision), "{code}");
        run(&mut shelf, open_in(currency(code), 2, money(fits))).unwrap();
    }
}

#[test]
fn a_reserve_of_a_finer_amount_is_declined_for_ever() {
    let mut shelf = in_currency("USD");
    for _ in 0..2 {
        let declined = run(&mut shelf, reserve(1, "r", "1.001"));
        assert_eq!(declined, Err(Refusal::AmountPrecision));
    }
    assert_eq!(run(&mut shelf, reserve(1, "r", "1")), Err(Refusal::ReservationMismatch));
}

#[test]
fn what_a_version_before_accepted_is_replayed_and_not_refused() {
    let mut shelf = Shelf::default();
    let accepted = [open_in(currency("XAU"), 1, money("1.0001")), deposit(1, "d", "0.0001")];
    for command in &accepted {
        run(&mut shelf, command.clone()).unwrap();
    }
    shelf.accounts.get_mut(&account(1)).unwrap().currency = Currency::USD;
    for again in [open(1, "1.0001"), deposit(1, "d", "0.0001")] {
        assert!(run(&mut shelf, again).unwrap().replayed);
    }
}

#[test]
fn finer_amounts_of_a_version_before_are_captured_whole_or_in_part() {
    for (amount, balance) in [("", "90.0002"), ("10.0003", "90.0002"), ("10", "90.0005")] {
        let mut shelf = of_the_version_before();
        run(&mut shelf, capture(1, "r", amount)).unwrap();
        assert_eq!(shelf.accounts[&account(1)].balance, money(balance), "{amount:?}");
    }
}

#[test]
fn finer_amounts_of_a_version_before_are_released_and_then_reserved_as_a_whole() {
    let mut shelf = of_the_version_before();
    run(&mut shelf, release(1, "r")).unwrap();
    let refused = run(&mut shelf, reserve(1, "part", "100.0004"));
    assert_eq!(refused, Err(Refusal::AmountPrecision));
    run(&mut shelf, reserve(1, "all", "100.0005")).unwrap();
    run(&mut shelf, capture(1, "all", "")).unwrap();
    assert!(shelf.accounts[&account(1)].balance.is_zero());
}

#[test]
fn finer_amounts_of_a_version_before_are_refunded_as_far_as_they_are_left() {
    let mut shelf = of_the_version_before();
    run(&mut shelf, refund(1, "c", "x", "4")).unwrap();
    assert_eq!(run(&mut shelf, refund(1, "c", "y", "6.0002")), Err(Refusal::RefundExceedsCapture));
    assert_eq!(run(&mut shelf, refund(1, "c", "y", "5.0001")), Err(Refusal::AmountPrecision));
    run(&mut shelf, refund(1, "c", "y", "6.0001")).unwrap();
    let mut captured = shelf.reservations.values().filter(|row| row.state == State::Captured);
    assert!(captured.all(|row| row.refunded == row.captured));
}
