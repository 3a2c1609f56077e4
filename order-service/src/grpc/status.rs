//! Refusals and troubles as statuses: the only place that makes one.

use std::time::Duration;

use proto::{Failure, Reason, currency::TooFine, id::ProductId};
use server::NotOwned;
use tonic::Status;

use crate::{desk::Trouble, order::catalog::Refusal, placement::PlaceError};

/// After this a full queue has moved on: some batches later.
const WHEN_FULL: Duration = Duration::from_millis(50);

/// After this a database or account service that was away may be back.
const WHEN_AWAY: Duration = Duration::from_millis(500);

/// After this the first request with a key is most likely done.
const WHEN_IN_PROGRESS: Duration = Duration::from_millis(100);

/// `products` are those of the request's lines, in the caller's order, to name the line at fault.
pub(super) fn of_place_error(error: PlaceError, products: &[i64]) -> Status {
    let message = error.to_string();
    let failure = |reason| Failure::new(reason, message.clone());
    match error {
        PlaceError::InProgress => {
            failure(Reason::DuplicatePaymentRequest).retry_after(WHEN_IN_PROGRESS)
        }
        PlaceError::AlreadyPlaced { order_id } => {
            failure(Reason::PaymentAlreadyProcessed).with("order_id", order_id)
        }
        PlaceError::Declined { cause } => failure(Reason::PaymentFailed).with("cause", cause),
        PlaceError::KeyReused => failure(Reason::IdempotencyKeyReused)
            .field("idempotency_key", "was used for another request"),
        PlaceError::OutOfStock { product } => {
            failure(Reason::OutOfStock).with("product_id", product)
        }
        PlaceError::UnknownProduct { product } => failure(Reason::ProductNotFound)
            .with("product_id", product)
            .field(line(products, product), "names no product of the catalogue"),
        PlaceError::TooLarge => failure(Reason::InvalidRequest)
            .field("lines", "must cost at most 100000000000000 in all"),
        PlaceError::NoLedger => failure(Reason::Unavailable).retry_after(WHEN_AWAY),
        PlaceError::MixedCurrencies { product } => failure(Reason::InvalidRequest)
            .with("product_id", product)
            .field(line(products, product), "is in another currency than other lines"),
        PlaceError::OtherCurrency { currency } => failure(Reason::InvalidRequest).field(
            "currency",
            format_args!("must be {currency}, as the products of the lines are"),
        ),
        PlaceError::TooFine { currency } => failure(Reason::AmountPrecision)
            .field(if products.is_empty() { "amount" } else { "lines" }, TooFine { currency }),
        PlaceError::OutcomeUnknown => failure(Reason::OutcomeUnknown).retry_after(WHEN_AWAY),
        PlaceError::Trouble(trouble) => return of_trouble(trouble),
    }
    .into()
}

/// The field that names this product.
fn line(products: &[i64], product: ProductId) -> String {
    let line = products.iter().position(|named| *named == product.get()).unwrap_or_default();
    format!("lines[{line}].product_id")
}

pub(super) fn of_stock_refusal(refusal: Refusal, product: ProductId) -> Status {
    let (reason, message) = match refusal {
        Refusal::UnknownProduct => return not_found(Reason::ProductNotFound, "product"),
        Refusal::Mismatch => {
            (Reason::AdjustmentMismatch, "the adjustment_id was used with another delta")
        }
        Refusal::TooFew => (Reason::OutOfStock, "the product has too little stock"),
        Refusal::TooMany => (Reason::StockLimitExceeded, "the product would have too much stock"),
    };
    Failure::new(reason, message).with("product_id", product).into()
}

pub(super) fn of_trouble(trouble: Trouble) -> Status {
    let (reason, retry_after) = match trouble {
        Trouble::Full => (Reason::Overloaded, Some(WHEN_FULL)),
        Trouble::Unavailable => (Reason::Unavailable, Some(WHEN_AWAY)),
        Trouble::OutcomeUnknown => (Reason::OutcomeUnknown, Some(WHEN_AWAY)),
        Trouble::Failed => (Reason::Internal, None),
    };
    let failure = Failure::new(reason, trouble.to_string());
    retry_after.into_iter().fold(failure, Failure::retry_after).into()
}

/// The same for an account that exists and for one that does not.
pub(super) fn not_owned(_: NotOwned) -> Status {
    Failure::new(Reason::PermissionDenied, "the account is none of the caller's").into()
}

pub(super) fn not_found(reason: Reason, what: &str) -> Status {
    Failure::new(reason, format!("there is no such {what}")).into()
}
