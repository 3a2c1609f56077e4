//! A reservation and its states: HELD → CAPTURED | RELEASED | EXPIRED, or DECLINED from the start. Only HELD moves on.

use proto::{
    Money,
    id::{AccountId, OrderRef, ReserveId},
};
use time::OffsetDateTime;

/// A hold on part of an account's balance, or the memory of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The account, which need not exist: declines and tombstones outlive that question.
    pub account_id: AccountId,
    /// The caller's id.
    pub reserve_id: ReserveId,
    /// The order it is for. `None` marks a tombstone.
    pub order_id: Option<OrderRef>,
    /// What was asked for; zero on a tombstone.
    pub amount: Money,
    /// What was taken.
    pub captured: Money,
    /// What was returned of it.
    pub refunded: Money,
    /// Where it stands.
    pub state: State,
    /// When it was first seen.
    pub created_at: OffsetDateTime,
    /// When the hold ends by itself; `None` where there never was one.
    pub expires_at: Option<OffsetDateTime>,
}

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The amount is held.
    Held,
    /// Some or all of it was taken; the rest was given back.
    Captured,
    /// Given back, or refused in advance (a tombstone).
    Released,
    /// Nobody took it in time.
    Expired,
    /// Refused when it was asked for, for ever.
    Declined(Decline),
}

/// Why a reservation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decline {
    /// Less was available.
    InsufficientFunds,
    /// There was no such account.
    AccountNotFound,
    /// The account was in another currency.
    CurrencyMismatch,
    /// The amount was finer than the account's currency, and not all that was available.
    AmountPrecision,
}

impl Reservation {
    /// What a Release leaves where nothing was reserved: a later Reserve finds it and is refused.
    pub(super) fn tombstone(
        account_id: AccountId,
        reserve_id: ReserveId,
        created_at: OffsetDateTime,
    ) -> Self {
        Self {
            account_id,
            reserve_id,
            order_id: None,
            amount: Money::ZERO,
            captured: Money::ZERO,
            refunded: Money::ZERO,
            state: State::Released,
            created_at,
            expires_at: None,
        }
    }

    /// Whether it is held although its time has come.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        self.state == State::Held && self.expires_at.is_some_and(|end| end <= now)
    }

    /// The reservation as a caller must see it at `now`: expired when it is due, even if nobody has swept it yet.
    #[must_use]
    pub fn seen_at(mut self, now: OffsetDateTime) -> Self {
        if self.is_due(now) {
            self.state = State::Expired;
        }
        self
    }
}
