//! How each point is come to.

use failpoint::Point;
use proto::Reason;
use proto::order::v1::{OnDuplicate, OrderLine, PlaceOrderRequest};

use crate::world::{ACCOUNT, PRICE, SCARCE};

/// What has to happen before, and is asked for, so that a point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scene {
    /// An order.
    Order,
    /// One that was placed before.
    Again,
    /// One that the account cannot pay.
    TooDear,
    /// One for more than there is.
    SoldOut,
    /// One while the account service is silent.
    Silence,
    /// One whose process was killed while the account service was silent.
    LeftBehind,
    /// One whose process ended before it told the account service.
    Untold,
    /// One whose COMMIT is not answered.
    CommitCut,
}

impl Scene {
    pub(crate) fn of(point: Point) -> Self {
        match point {
            Point::BeforeClaim
            | Point::Claimed
            | Point::Reserved
            | Point::SettleFenced
            | Point::SettleWritten
            | Point::Placed
            | Point::BeforeTell
            | Point::Told
            | Point::Finished
            | Point::AccountLoaded
            | Point::AccountWritten
            | Point::AccountCommitted => Self::Order,
            Point::DuplicateRead => Self::Again,
            Point::Declined | Point::DeclineStored => Self::TooDear,
            Point::SoldOut => Self::SoldOut,
            Point::ReserveUnknown | Point::HandedBack => Self::Silence,
            Point::TakenOver | Point::OverdueRead => Self::LeftBehind,
            Point::NoticesLeased => Self::Untold,
            Point::CommitUnknown => Self::CommitCut,
        }
    }

    /// What is asked for, by this key.
    pub(crate) fn request(self, key: &str) -> PlaceOrderRequest {
        let (amount, lines) = match self {
            Self::TooDear => ("99999999".to_owned(), Vec::new()),
            Self::SoldOut => (String::new(), vec![OrderLine { product_id: SCARCE, quantity: 2 }]),
            Self::Order
            | Self::Again
            | Self::Silence
            | Self::LeftBehind
            | Self::Untold
            | Self::CommitCut => (PRICE.to_string(), Vec::new()),
        };
        PlaceOrderRequest {
            account_id: ACCOUNT,
            idempotency_key: key.to_owned(),
            amount,
            lines,
            on_duplicate: OnDuplicate::Replay.into(),
            currency: String::new(),
        }
    }

    /// Why there is no order in the end, if there is none.
    pub(crate) fn refusal(self) -> Option<Reason> {
        match self {
            Self::TooDear => Some(Reason::PaymentFailed),
            Self::SoldOut => Some(Reason::OutOfStock),
            Self::Order
            | Self::Again
            | Self::Silence
            | Self::LeftBehind
            | Self::Untold
            | Self::CommitCut => None,
        }
    }
}
