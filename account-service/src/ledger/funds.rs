//! Money that comes in: opening an account, deposits, refunds.

use time::OffsetDateTime;

use super::{
    Account, Book, Deposit, EntryKind, OpenAccount, Outcome, PostDeposit, PostRefund, Receipt,
    Refund, Refusal, State,
};

pub(super) fn open(book: &mut Book, open: &OpenAccount, now: OffsetDateTime) -> Outcome {
    if let Some(account) = book.account(open.account_id) {
        let same =
            account.currency == open.currency && account.opening_balance == open.opening_balance;
        return if same {
            Ok(Receipt::of(account).replayed())
        } else {
            Err(Refusal::AccountAlreadyExists)
        };
    }
    if open.currency.check(open.opening_balance).is_err() {
        return Err(Refusal::OpeningBalancePrecision);
    }
    let mut account = Account::empty(open.account_id, open.currency, open.opening_balance, now);
    if !open.opening_balance.is_zero() {
        account = account.credit(open.opening_balance).ok_or(Refusal::BalanceLimitExceeded)?;
        book.put_entry(account.line(EntryKind::Opening, open.opening_balance, "", None, now));
    }
    book.put_account(account);
    Ok(Receipt::of(account))
}

pub(super) fn deposit(book: &mut Book, command: &PostDeposit, now: OffsetDateTime) -> Outcome {
    let PostDeposit { account_id, deposit_id, amount, by } = command;
    let account = book.account(*account_id).ok_or(Refusal::AccountNotFound)?;
    if let Some(before) = book.deposit(*account_id, deposit_id) {
        return if before.amount == *amount {
            Ok(Receipt::of(account).replayed())
        } else {
            Err(Refusal::DepositMismatch)
        };
    }
    if account.currency.check(*amount).is_err() {
        return Err(Refusal::AmountPrecision);
    }
    let account = account.credit(*amount).ok_or(Refusal::BalanceLimitExceeded)?;
    book.put_entry(account.line(EntryKind::Deposit, *amount, deposit_id.as_str(), None, now));
    book.put_account(account);
    book.put_deposit(Deposit {
        account_id: *account_id,
        deposit_id: deposit_id.clone(),
        amount: *amount,
        created_at: now,
        by: by.clone(),
    });
    Ok(Receipt::of(account))
}

pub(super) fn refund(book: &mut Book, command: &PostRefund, now: OffsetDateTime) -> Outcome {
    let PostRefund { account_id, reserve_id, refund_id, amount, by } = command;
    let account = book.account(*account_id).ok_or(Refusal::AccountNotFound)?;
    if let Some(before) = book.refund(*account_id, reserve_id, refund_id) {
        // The rest was whatever it was the first time.
        return if amount.is_none_or(|amount| amount == before.amount) {
            Ok(Receipt::of(account).replayed())
        } else {
            Err(Refusal::RefundMismatch)
        };
    }

    let mut reservation =
        book.reservation(*account_id, reserve_id).ok_or(Refusal::ReservationNotFound)?.clone();
    if reservation.state != State::Captured {
        return Err(Refusal::ReservationNotCaptured);
    }
    let left =
        reservation.captured.checked_sub(reservation.refunded).ok_or(Refusal::Inconsistent)?;
    let amount = amount.unwrap_or(left);
    if amount > left {
        return Err(Refusal::RefundExceedsCapture);
    }
    if !account.can_pay(amount, left) {
        return Err(Refusal::AmountPrecision);
    }

    // The rest of nothing: nothing is remembered, for nothing will ever be left.
    if amount.is_zero() {
        return Ok(Receipt::of(account));
    }

    let account = account.credit(amount).ok_or(Refusal::BalanceLimitExceeded)?;
    reservation.refunded = reservation.refunded.checked_add(amount).ok_or(Refusal::Inconsistent)?;
    let order = reservation.order_id.clone();
    book.put_entry(account.line(EntryKind::Refund, amount, refund_id.as_str(), order, now));
    book.put_account(account);
    book.put_reservation(reservation);
    book.put_refund(Refund {
        account_id: *account_id,
        reserve_id: reserve_id.clone(),
        refund_id: refund_id.clone(),
        amount,
        created_at: now,
        by: by.clone(),
    });
    Ok(Receipt::of(account))
}
