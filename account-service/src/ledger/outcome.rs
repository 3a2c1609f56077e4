//! What became of a command.

use thiserror::Error;

use super::{Account, Decline, Reservation};

/// A receipt, or why there is none.
pub type Outcome = Result<Receipt, Refusal>;

/// Says that a command stands, now or since before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The account after it. `None` only after a Release on an account that does not exist.
    pub account: Option<Account>,
    /// The reservation after it, for the commands about one.
    pub reservation: Option<Reservation>,
    /// Whether it stood before and nothing was done now.
    pub replayed: bool,
}

/// Why a command was refused. The text is for callers and holds no secret; machines get a reason of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// OpenAccount, otherwise than before.
    #[error("the account exists with another currency or opening balance")]
    AccountAlreadyExists,
    /// There is no such account; of a Reserve this is a stored decline.
    #[error("the account does not exist")]
    AccountNotFound,
    /// Finer than the account's currency, and not all there is; of a Reserve this is a stored decline.
    #[error("the amount has more decimal places than the account's currency")]
    AmountPrecision,
    /// More than an account may hold.
    #[error("the account would hold more than 900000000000000")]
    BalanceLimitExceeded,
    /// A Reserve in another currency: a stored decline.
    #[error("the account is in another currency than the amount")]
    CurrencyMismatch,
    /// The deposit_id is taken.
    #[error("the deposit_id was used before with another amount")]
    DepositMismatch,
    /// A stored decline.
    #[error("less is available than was to be reserved")]
    InsufficientFunds,
    /// Finer than the currency of the account that is to be opened.
    #[error("the opening balance has more decimal places than the currency")]
    OpeningBalancePrecision,
    /// The reserve_id is taken.
    #[error("the reserve_id was used before with another amount or order_id")]
    ReservationMismatch,
    /// No such hold.
    #[error("the reservation does not exist")]
    ReservationNotFound,
    /// Reserve or Capture after Release.
    #[error("the reservation was released")]
    ReservationReleased,
    /// Reserve or Capture after the hold's end.
    #[error("the reservation has expired")]
    ReservationExpired,
    /// Capture of a reservation that was refused.
    #[error("the reservation was declined")]
    ReservationDeclined,
    /// Release after Capture.
    #[error("the reservation was captured")]
    ReservationCaptured,
    /// Refund of what was never taken.
    #[error("the reservation was not captured")]
    ReservationNotCaptured,
    /// Capture of more than is held.
    #[error("more is to be captured than is held")]
    CaptureExceedsReservation,
    /// Captured before, otherwise.
    #[error("the reservation was captured with another amount")]
    CaptureMismatch,
    /// The refund_id is taken.
    #[error("the refund_id was used before with another amount")]
    RefundMismatch,
    /// More would be returned than was taken.
    #[error("refunds would exceed what was captured")]
    RefundExceedsCapture,
    /// The stored rows contradict each other. Nothing was changed; `verify` names the rows.
    #[error("the account's rows contradict each other")]
    Inconsistent,
}

impl Receipt {
    pub(super) fn of(account: Account) -> Self {
        Self { account: Some(account), reservation: None, replayed: false }
    }

    pub(super) fn about(self, reservation: Reservation) -> Self {
        Self { reservation: Some(reservation), ..self }
    }

    pub(super) fn replayed(self) -> Self {
        Self { replayed: true, ..self }
    }
}

impl From<Decline> for Refusal {
    fn from(decline: Decline) -> Self {
        match decline {
            Decline::InsufficientFunds => Self::InsufficientFunds,
            Decline::AccountNotFound => Self::AccountNotFound,
            Decline::CurrencyMismatch => Self::CurrencyMismatch,
            Decline::AmountPrecision => Self::AmountPrecision,
        }
    }
}
