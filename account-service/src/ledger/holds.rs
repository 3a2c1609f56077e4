//! Money that is held: Reserve, Capture, Release.

use proto::{
    Money,
    id::{AccountId, OrderRef, ReserveId},
};
use time::OffsetDateTime;

use super::{
    Account, Book, Capture, Decline, EntryKind, Outcome, Receipt, Refusal, Release, Reservation,
    Reserve, State,
};

pub(super) fn reserve(book: &mut Book, command: &Reserve, now: OffsetDateTime) -> Outcome {
    expire_if_due(book, command.account_id, &command.reserve_id, now)?;
    match book.reservation(command.account_id, &command.reserve_id) {
        Some(before) => reserve_again(book, command, before),
        None => reserve_first(book, command, now),
    }
}

/// The answer that this reserve_id got before, as things stand now. The currency is not part of what is compared: a pod
/// of the version before names none, and the first answer took it into account.
fn reserve_again(book: &Book, command: &Reserve, before: &Reservation) -> Outcome {
    // A tombstone has no request to compare with.
    let same = |order: &OrderRef| *order == command.order_id && before.amount == command.amount;
    if !before.order_id.as_ref().is_none_or(same) {
        return Err(Refusal::ReservationMismatch);
    }
    match before.state {
        State::Held | State::Captured => {
            let account = book.account(command.account_id).ok_or(Refusal::Inconsistent)?;
            Ok(Receipt::of(account).about(before.clone()).replayed())
        }
        State::Released => Err(Refusal::ReservationReleased),
        State::Expired => Err(Refusal::ReservationExpired),
        State::Declined(cause) => Err(cause.into()),
    }
}

fn reserve_first(book: &mut Book, command: &Reserve, now: OffsetDateTime) -> Outcome {
    let account = book.account(command.account_id).ok_or(Decline::AccountNotFound);
    let held = account.and_then(|account| hold(account, command));
    let reservation = Reservation {
        account_id: command.account_id,
        reserve_id: command.reserve_id.clone(),
        order_id: Some(command.order_id.clone()),
        amount: command.amount,
        captured: Money::ZERO,
        refunded: Money::ZERO,
        state: held.map_or_else(State::Declined, |_| State::Held),
        created_at: now,
        expires_at: held.is_ok().then(|| now + command.ttl),
    };
    book.put_reservation(reservation.clone());
    let account = held?;
    book.put_account(account);
    Ok(Receipt::of(account).about(reservation))
}

fn hold(account: Account, command: &Reserve) -> Result<Account, Decline> {
    if command.currency.is_some_and(|currency| currency != account.currency) {
        return Err(Decline::CurrencyMismatch);
    }
    if !account.can_pay(command.amount, account.available()) {
        return Err(Decline::AmountPrecision);
    }
    account.hold(command.amount).ok_or(Decline::InsufficientFunds)
}

pub(super) fn capture(book: &mut Book, command: &Capture, now: OffsetDateTime) -> Outcome {
    expire_if_due(book, command.account_id, &command.reserve_id, now)?;
    let account = book.account(command.account_id);
    let reservation = book.reservation(command.account_id, &command.reserve_id).cloned();
    let unknown = account.map_or(Refusal::AccountNotFound, |_| Refusal::ReservationNotFound);
    let reservation = reservation.ok_or(unknown)?;
    let amount = command.amount.unwrap_or(reservation.amount);
    match reservation.state {
        State::Held => {
            let account = account.ok_or(Refusal::Inconsistent)?;
            capture_held(book, account, reservation, amount, now)
        }
        State::Captured if reservation.captured != amount => Err(Refusal::CaptureMismatch),
        State::Captured => {
            let account = account.ok_or(Refusal::Inconsistent)?;
            Ok(Receipt::of(account).about(reservation).replayed())
        }
        State::Released => Err(Refusal::ReservationReleased),
        State::Expired => Err(Refusal::ReservationExpired),
        State::Declined(_) => Err(Refusal::ReservationDeclined),
    }
}

fn capture_held(
    book: &mut Book,
    account: Account,
    mut reservation: Reservation,
    amount: Money,
    now: OffsetDateTime,
) -> Outcome {
    if amount > reservation.amount {
        return Err(Refusal::CaptureExceedsReservation);
    }
    if !account.can_pay(amount, reservation.amount) {
        return Err(Refusal::AmountPrecision);
    }
    let account = account.debit(reservation.amount, amount).ok_or(Refusal::Inconsistent)?;
    reservation.captured = amount;
    reservation.state = State::Captured;
    let (reference, order) = (reservation.reserve_id.as_str(), reservation.order_id.clone());
    book.put_entry(account.line(EntryKind::Capture, amount, reference, order, now));
    book.put_account(account);
    book.put_reservation(reservation.clone());
    Ok(Receipt::of(account).about(reservation))
}

pub(super) fn release(book: &mut Book, command: &Release, now: OffsetDateTime) -> Outcome {
    expire_if_due(book, command.account_id, &command.reserve_id, now)?;
    let account = book.account(command.account_id);
    let Some(before) = book.reservation(command.account_id, &command.reserve_id).cloned() else {
        let tombstone = Reservation::tombstone(command.account_id, command.reserve_id.clone(), now);
        book.put_reservation(tombstone.clone());
        return Ok(Receipt { account, reservation: Some(tombstone), replayed: false });
    };
    match before.state {
        State::Held => {
            let freed = account.and_then(|account| account.unhold(before.amount));
            let account = freed.ok_or(Refusal::Inconsistent)?;
            let released = Reservation { state: State::Released, ..before };
            book.put_account(account);
            book.put_reservation(released.clone());
            Ok(Receipt::of(account).about(released))
        }
        State::Captured => Err(Refusal::ReservationCaptured),
        State::Released | State::Expired | State::Declined(_) => {
            Ok(Receipt { account, reservation: Some(before), replayed: true })
        }
    }
}

/// Expires the reservation when its time has come and nobody has swept it yet.
fn expire_if_due(
    book: &mut Book,
    account_id: AccountId,
    reserve_id: &ReserveId,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let due = book.reservation(account_id, reserve_id).filter(|row| row.is_due(now)).cloned();
    let Some(reservation) = due else { return Ok(()) };
    let freed = book.account(account_id).and_then(|account| account.unhold(reservation.amount));
    book.put_account(freed.ok_or(Refusal::Inconsistent)?);
    book.put_reservation(reservation.seen_at(now));
    Ok(())
}
