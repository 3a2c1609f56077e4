//! Small numbers for the model's states, and the service's own types for its own functions.

use std::{
    str::FromStr,
    sync::{Arc, LazyLock},
};

use order_service::order::{
    Action, Notice, Order,
    key::{self, Decided, GAVE_UP, KeyRow, KeyState, Outcome},
    request::{Basket, Digest, Line, Request},
};
use proto::{
    Currency, Money, Reason,
    id::{AccountId, IdempotencyKey, ProductId},
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The instant of everything: nothing in the protocol depends on when it happens.
pub(crate) const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// What a request under the key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    /// One piece of the one product.
    Product,
    /// Another basket: a plain amount.
    Amount,
}

/// [`key::Claim`], in small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub(crate) asked: Asked,
    pub(crate) order_id: u8,
    pub(crate) fence: i32,
    pub(crate) day: u8,
}

/// [`Outcome`], in small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Placed { payment: u8 },
    Declined(&'static str),
    SoldOut,
}

/// [`Order`], in small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Placed {
    pub(crate) order_id: u8,
    pub(crate) payment: u8,
    pub(crate) asked: Asked,
}

/// [`Notice`], in small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Told {
    pub(crate) order_id: u8,
    pub(crate) capture: bool,
}

struct Known {
    request: Arc<Request>,
    digest: Digest,
}

static PRODUCT: LazyLock<Known> = LazyLock::new(|| {
    Known::of(Basket::of_lines(vec![Line { product_id: product(), quantity: 1 }]))
});
static AMOUNT: LazyLock<Known> = LazyLock::new(|| Known::of(Basket::Amount(amount())));

impl Asked {
    pub(crate) fn digest(self) -> Digest {
        self.known().digest
    }

    pub(crate) fn request(self) -> Arc<Request> {
        Arc::clone(&self.known().request)
    }

    fn known(self) -> &'static Known {
        match self {
            Self::Product => &PRODUCT,
            Self::Amount => &AMOUNT,
        }
    }

    fn of(basket: &Basket) -> Self {
        match basket {
            Basket::Lines(_) => Self::Product,
            Basket::Amount(_) => Self::Amount,
        }
    }
}

impl Known {
    fn of(basket: Basket) -> Self {
        let key = IdempotencyKey::new("the-key").expect("a short text is a key");
        let account = AccountId::new(1).expect("one is greater than zero");
        let request = Request::stored(account, key, basket, Currency::USD);
        Self { digest: request.digest(), request: Arc::new(request) }
    }
}

impl Claim {
    pub(crate) fn real(self) -> key::Claim {
        key::Claim {
            request: self.asked.request(),
            order_id: uuid(self.order_id),
            amount: amount(),
            currency: Currency::USD,
            fence: self.fence,
            home: key::Home::Keys(NOW.date() + Duration::days(self.day.into())),
        }
    }

    /// The row with this claim, as a look that finds the lease over reads it.
    pub(crate) fn row(self, fate: Option<Fate>) -> KeyRow {
        let running = KeyState::Running { lease_over: true };
        KeyRow {
            claim: self.real(),
            digest: self.asked.digest(),
            state: fate.map_or(running, |fate| {
                KeyState::Decided(Decided { outcome: fate.real(), at: NOW })
            }),
            created_at: NOW,
        }
    }
}

impl Fate {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Placed { payment_id } => Self::Placed { payment: number(*payment_id) },
            Outcome::OutOfStock { .. } => Self::SoldOut,
            Outcome::Declined { cause } if cause == GAVE_UP => Self::Declined(GAVE_UP),
            Outcome::Declined { cause } => {
                let reason = Reason::from_str(cause).expect("the model declines with reasons");
                Self::Declined(reason.as_str())
            }
        }
    }

    fn real(self) -> Outcome {
        match self {
            Self::Placed { payment } => Outcome::Placed { payment_id: uuid(payment) },
            Self::Declined(cause) => Outcome::Declined { cause: cause.into() },
            Self::SoldOut => Outcome::OutOfStock { product_id: product() },
        }
    }
}

impl Placed {
    pub(crate) fn of(order: &Order) -> Self {
        Self {
            order_id: number(order.order_id),
            payment: number(order.payment_id),
            asked: Asked::of(&order.basket),
        }
    }

    pub(crate) fn real(self) -> Order {
        let claim = Claim { asked: self.asked, order_id: self.order_id, fence: 1, day: 0 };
        claim.real().order(uuid(self.payment), NOW)
    }
}

impl Told {
    pub(crate) fn of(notice: &Notice) -> Self {
        Self { order_id: number(notice.order_id), capture: notice.action == Action::Capture }
    }
}

pub(crate) fn uuid(number: u8) -> Uuid {
    Uuid::from_u128(number.into())
}

pub(crate) fn product() -> ProductId {
    ProductId::new(1).expect("one is greater than zero")
}

fn number(uuid: Uuid) -> u8 {
    uuid.as_u128().try_into().expect("the model's ids are small numbers")
}

fn amount() -> Money {
    Money::parse("1").expect("one is an amount")
}
