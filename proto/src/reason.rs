//! Why a call was refused: stable names, each with its gRPC code, in one exhaustive mapping.

use std::{fmt, str::FromStr};

use tonic::Code;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $code:ident, $public:expr;)*) => {
        /// The `reason` of `google.rpc.ErrorInfo`, domain `holdfast`. Names never change; new ones may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, by name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The gRPC code it travels with.
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// Its short code in ErrorInfo metadata `code`, for those that have one.
            pub const fn short_code(self) -> Option<&'static str> {
                match self { $(Self::$name => $public,)* }
            }
        }
    };
}

reasons! {
    /// OpenAccount with another currency or opening balance than before.
    AccountAlreadyExists = "ACCOUNT_ALREADY_EXISTS", AlreadyExists, None;
    /// The account was never opened.
    AccountNotFound = "ACCOUNT_NOT_FOUND", NotFound, None;
    /// An adjustment_id seen before with another delta.
    AdjustmentMismatch = "ADJUSTMENT_MISMATCH", InvalidArgument, None;
    /// An amount has more decimal places than its currency, and is not all that is left.
    AmountPrecision = "AMOUNT_PRECISION", InvalidArgument, None;
    /// The account would hold more than [`crate::Money::MAX_BALANCE`].
    BalanceLimitExceeded = "BALANCE_LIMIT_EXCEEDED", FailedPrecondition, None;
    /// More is to be captured than is held.
    CaptureExceedsReservation = "CAPTURE_EXCEEDS_RESERVATION", FailedPrecondition, None;
    /// Captured before, with another amount.
    CaptureMismatch = "CAPTURE_MISMATCH", InvalidArgument, None;
    /// The amount is in another currency than the account.
    CurrencyMismatch = "CURRENCY_MISMATCH", FailedPrecondition, None;
    /// The caller's deadline came before the answer.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, None;
    /// A deposit_id seen before with another amount.
    DepositMismatch = "DEPOSIT_MISMATCH", InvalidArgument, None;
    /// The first request with this key is still being worked on.
    DuplicatePaymentRequest = "DUPLICATE_PAYMENT_REQUEST", Aborted, Some("E301");
    /// An idempotency key seen before with another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", InvalidArgument, Some("E305");
    /// Less is available than was asked for.
    InsufficientFunds = "INSUFFICIENT_FUNDS", FailedPrecondition, None;
    /// A fault of the service; its log says more.
    Internal = "INTERNAL", Internal, None;
    /// A field is missing or wrong; BadRequest names it.
    InvalidRequest = "INVALID_REQUEST", InvalidArgument, None;
    /// The commands were meant for another ledger.
    LedgerMismatch = "LEDGER_MISMATCH", FailedPrecondition, None;
    /// There is no such order on this account.
    OrderNotFound = "ORDER_NOT_FOUND", NotFound, None;
    /// What happened is not known yet; the same call again finds out.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unavailable, None;
    /// A product has less stock than was ordered; metadata product_id.
    OutOfStock = "OUT_OF_STOCK", FailedPrecondition, Some("E306");
    /// More is asked for than can be queued.
    Overloaded = "OVERLOADED", ResourceExhausted, None;
    /// The key is done and the caller wanted duplicates refused; metadata order_id.
    PaymentAlreadyProcessed = "PAYMENT_ALREADY_PROCESSED", AlreadyExists, Some("E302");
    /// The account service declined; metadata cause.
    PaymentFailed = "PAYMENT_FAILED", FailedPrecondition, Some("E303");
    /// There is no payment for such an order on this account.
    PaymentNotFound = "PAYMENT_NOT_FOUND", NotFound, Some("E304");
    /// The caller may not do this, or not to this account. Says nothing about what exists.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, None;
    /// There is no such product.
    ProductNotFound = "PRODUCT_NOT_FOUND", NotFound, None;
    /// Refunds would exceed what was captured.
    RefundExceedsCapture = "REFUND_EXCEEDS_CAPTURE", FailedPrecondition, None;
    /// A refund_id seen before with another amount.
    RefundMismatch = "REFUND_MISMATCH", InvalidArgument, None;
    /// The reservation was captured and cannot be released.
    ReservationCaptured = "RESERVATION_CAPTURED", FailedPrecondition, None;
    /// The reservation was refused when it was asked for.
    ReservationDeclined = "RESERVATION_DECLINED", FailedPrecondition, None;
    /// The reservation ended by itself.
    ReservationExpired = "RESERVATION_EXPIRED", FailedPrecondition, None;
    /// A reserve_id seen before with another amount or order_id.
    ReservationMismatch = "RESERVATION_MISMATCH", InvalidArgument, None;
    /// The reservation was not captured, so nothing can be refunded.
    ReservationNotCaptured = "RESERVATION_NOT_CAPTURED", FailedPrecondition, None;
    /// There is no such reservation on this account.
    ReservationNotFound = "RESERVATION_NOT_FOUND", NotFound, None;
    /// The reservation was released, perhaps before it was made.
    ReservationReleased = "RESERVATION_RELEASED", FailedPrecondition, None;
    /// The product would have more than 10^12 pieces.
    StockLimitExceeded = "STOCK_LIMIT_EXCEEDED", FailedPrecondition, None;
    /// The caller is not known: no credential, or none that is valid.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, None;
    /// Something this service depends on is away; nothing was done.
    Unavailable = "UNAVAILABLE", Unavailable, None;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == text).ok_or(UnknownReason)
    }
}

/// A reason from a newer contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason")]
pub struct UnknownReason;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_unique_and_read_back() {
        let names: Vec<_> =
            Reason::ALL.iter().map(|reason| reason.as_str().replace('_', "")).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        assert_eq!("NO_SUCH".parse::<Reason>(), Err(UnknownReason));
    }

    #[test]
    fn the_codes_of_the_error_table_stand() {
        let table: Vec<_> = Reason::ALL
            .iter()
            .filter_map(|r| r.short_code().map(|short| (short, r.as_str(), r.code())))
            .collect();
        for row in [
            ("E301", "DUPLICATE_PAYMENT_REQUEST", Code::Aborted),
            ("E302", "PAYMENT_ALREADY_PROCESSED", Code::AlreadyExists),
            ("E303", "PAYMENT_FAILED", Code::FailedPrecondition),
            ("E304", "PAYMENT_NOT_FOUND", Code::NotFound),
            ("E305", "IDEMPOTENCY_KEY_REUSED", Code::InvalidArgument),
            ("E306", "OUT_OF_STOCK", Code::FailedPrecondition),
        ] {
            assert!(table.contains(&row), "{row:?}");
        }
        assert_eq!(table.len(), 6);
    }
}
