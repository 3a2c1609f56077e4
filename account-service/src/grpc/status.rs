//! Refusals and troubles as statuses: the only place that makes one.

use std::time::Duration;

use proto::{Failure, Reason};
use server::NotOwned;
use tonic::Status;

use crate::{
    desk::{CommandError, Trouble},
    ledger::Refusal,
};

/// After this a full queue has moved on: some batches later.
const WHEN_FULL: Duration = Duration::from_millis(50);

/// After this a database that was away may be back.
const WHEN_AWAY: Duration = Duration::from_millis(500);

/// After this the outcome of a broken commit can be read.
const WHEN_UNKNOWN: Duration = Duration::from_millis(100);

pub(super) fn of_command(error: CommandError) -> Status {
    match error {
        CommandError::Refused(refusal) => of_refusal(refusal),
        CommandError::Trouble(trouble) => of_trouble(trouble),
    }
}

pub(super) fn of_refusal(refusal: Refusal) -> Status {
    why(refusal).into()
}

pub(super) fn of_trouble(trouble: Trouble) -> Status {
    failure(trouble).into()
}

/// The same for an account that exists and for one that does not.
pub(super) fn not_owned(_: NotOwned) -> Status {
    Failure::new(Reason::PermissionDenied, "the account is none of the caller's").into()
}

pub(super) fn ledger_mismatch(meant: &str, own: &str) -> Status {
    let message = format!("these commands are for ledger {meant}, and this is ledger {own}");
    Failure::new(Reason::LedgerMismatch, message).into()
}

/// The texts of refusals are for callers; see [`Refusal`].
pub(super) fn why(refusal: Refusal) -> Failure {
    let failure = Failure::new(reason(refusal), refusal.to_string());
    match field(refusal) {
        Some((field, problem)) => failure.field(field, problem),
        None => failure,
    }
}

pub(super) fn failure(trouble: Trouble) -> Failure {
    let (reason, retry_after) = match trouble {
        Trouble::Full => (Reason::Overloaded, Some(WHEN_FULL)),
        Trouble::Unavailable => (Reason::Unavailable, Some(WHEN_AWAY)),
        Trouble::OutcomeUnknown => (Reason::OutcomeUnknown, Some(WHEN_UNKNOWN)),
        Trouble::Failed => (Reason::Internal, None),
    };
    let failure = Failure::new(reason, trouble.to_string());
    match retry_after {
        Some(delay) => failure.retry_after(delay),
        None => failure,
    }
}

/// The field that is wrong, where only the ledger could tell that it is.
fn field(refusal: Refusal) -> Option<(&'static str, &'static str)> {
    let problem = "must have no more decimal places than the currency";
    match refusal {
        Refusal::AmountPrecision => Some(("amount", problem)),
        Refusal::OpeningBalancePrecision => Some(("opening_balance", problem)),
        Refusal::AccountAlreadyExists
        | Refusal::AccountNotFound
        | Refusal::BalanceLimitExceeded
        | Refusal::CaptureExceedsReservation
        | Refusal::CaptureMismatch
        | Refusal::CurrencyMismatch
        | Refusal::DepositMismatch
        | Refusal::Inconsistent
        | Refusal::InsufficientFunds
        | Refusal::RefundExceedsCapture
        | Refusal::RefundMismatch
        | Refusal::ReservationCaptured
        | Refusal::ReservationDeclined
        | Refusal::ReservationExpired
        | Refusal::ReservationMismatch
        | Refusal::ReservationNotCaptured
        | Refusal::ReservationNotFound
        | Refusal::ReservationReleased => None,
    }
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::AccountAlreadyExists => Reason::AccountAlreadyExists,
        Refusal::AccountNotFound => Reason::AccountNotFound,
        Refusal::AmountPrecision | Refusal::OpeningBalancePrecision => Reason::AmountPrecision,
        Refusal::BalanceLimitExceeded => Reason::BalanceLimitExceeded,
        Refusal::CaptureExceedsReservation => Reason::CaptureExceedsReservation,
        Refusal::CaptureMismatch => Reason::CaptureMismatch,
        Refusal::CurrencyMismatch => Reason::CurrencyMismatch,
        Refusal::DepositMismatch => Reason::DepositMismatch,
        Refusal::Inconsistent => Reason::Internal,
        Refusal::InsufficientFunds => Reason::InsufficientFunds,
        Refusal::RefundExceedsCapture => Reason::RefundExceedsCapture,
        Refusal::RefundMismatch => Reason::RefundMismatch,
        Refusal::ReservationCaptured => Reason::ReservationCaptured,
        Refusal::ReservationDeclined => Reason::ReservationDeclined,
        Refusal::ReservationExpired => Reason::ReservationExpired,
        Refusal::ReservationMismatch => Reason::ReservationMismatch,
        Refusal::ReservationNotCaptured => Reason::ReservationNotCaptured,
        Refusal::ReservationNotFound => Reason::ReservationNotFound,
        Refusal::ReservationReleased => Reason::ReservationReleased,
    }
}

#[cfg(test)]
mod tests {
    use proto::failure::PUSHBACK;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn a_full_queue_says_when_to_come_back_in_both_languages() {
        let status = of_trouble(Trouble::Full);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(WHEN_FULL));
        assert_eq!(status.metadata().get(PUSHBACK).unwrap(), "50");
    }

    #[test]
    fn only_a_defect_gives_no_hope() {
        let hopeful = [Trouble::Full, Trouble::Unavailable, Trouble::OutcomeUnknown];
        for trouble in hopeful {
            assert!(of_trouble(trouble).get_details_retry_info().is_some(), "{trouble:?}");
        }
        let status = of_trouble(Trouble::Failed);
        assert_eq!(status.code(), Code::Internal);
        assert!(status.get_details_retry_info().is_none());
    }
}
