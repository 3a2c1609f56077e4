//! What an order is and what may become of it: pure, no clock, no database, no network.
//!
//! - [`request`]: what is asked for, and the digest by which a duplicate is told from another request.
//! - [`key`]: the row behind an idempotency key, and what a request that finds one must do.
//! - [`decision`]: stock, fences and earlier orders in, the fate of each order out.
//! - [`ids`]: the id of an order, derived from its key.
//! - [`standing`]: what a reservation means that was there before its order.
//! - [`catalog`]: products and their stock.

pub mod catalog;
pub mod decision;
pub mod ids;
pub mod key;
pub mod request;
pub mod standing;

use proto::{
    Currency, Money,
    id::{AccountId, IdempotencyKey},
};
use time::OffsetDateTime;
use uuid::Uuid;

use request::{Basket, Request};

/// An order with its payment. They are written and read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id, also the id of its reservation: see [`ids`].
    pub order_id: Uuid,
    /// Who pays.
    pub account: AccountId,
    /// The key it was placed with.
    pub key: IdempotencyKey,
    /// What it costs.
    pub amount: Money,
    /// What that is counted in.
    pub currency: Currency,
    /// What was asked for.
    pub basket: Basket,
    /// Whether it was cancelled since.
    pub cancelled: bool,
    /// The id of its payment.
    pub payment_id: Uuid,
    /// When it was placed and paid for, by the database's clock.
    pub placed_at: OffsetDateTime,
}

/// What the account service must be told about an order's reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take the held money: the order was placed.
    Capture,
    /// Give it back: the order was not placed.
    Release,
    /// Return it: the order was cancelled.
    Refund,
}

/// What is to be told of one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose money.
    pub account: AccountId,
    /// Which order, and so which reservation.
    pub order_id: Uuid,
    /// What to do.
    pub action: Action,
    /// The order's amount.
    pub amount: Money,
    /// The batch of notices that has it. `None`: it is a row of the outbox.
    pub batch: Option<i64>,
}

impl Order {
    /// The request that made it.
    pub fn request(&self) -> Request {
        Request::stored(self.account, self.key.clone(), self.basket.clone(), self.currency)
    }

    /// Cancels it. Answers what must be told to the account service, or nothing when it was cancelled before.
    pub fn cancel(&mut self) -> Option<Notice> {
        if std::mem::replace(&mut self.cancelled, true) {
            return None;
        }
        let Self { account, order_id, amount, .. } = *self;
        Some(Notice { account, order_id, action: Action::Refund, amount, batch: None })
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Capture, Self::Release, Self::Refund];

    /// Its name in the database and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "CAPTURE",
            Self::Release => "RELEASE",
            Self::Refund => "REFUND",
        }
    }
}
