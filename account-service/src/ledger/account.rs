//! An account and the lines of its statement.

use proto::{
    Currency, Money,
    id::{AccountId, Actor, DepositId, OrderRef, RefundId, ReserveId},
};
use time::OffsetDateTime;

/// An account as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub account_id: AccountId,
    /// What its amounts are counted in.
    pub currency: Currency,
    /// What it was opened with; a second OpenAccount must name the same.
    pub opening_balance: Money,
    /// All money on it, held or not.
    pub balance: Money,
    /// The sum of its held reservations, never more than the balance.
    pub reserved: Money,
    /// How many lines its statement has: the sequence of the latest.
    pub entries: i64,
    /// When it was opened.
    pub created_at: OffsetDateTime,
}

/// One change of a balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The account.
    pub account_id: AccountId,
    /// 1, 2, 3 … within the account.
    pub sequence: i64,
    /// What happened, and so in which direction.
    pub kind: EntryKind,
    /// By how much.
    pub amount: Money,
    /// The balance after it.
    pub balance: Money,
    /// The id of its cause: of a deposit, a reservation or a refund. Empty for an opening balance.
    pub reference: Box<str>,
    /// The order, for captures and refunds.
    pub order_id: Option<OrderRef>,
    /// When it happened.
    pub created_at: OffsetDateTime,
}

/// What changed a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// The opening balance, added.
    Opening,
    /// A deposit, added.
    Deposit,
    /// A capture, taken.
    Capture,
    /// A refund, added.
    Refund,
}

/// Money that came in, remembered by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// The account.
    pub account_id: AccountId,
    /// The caller's id.
    pub deposit_id: DepositId,
    /// How much.
    pub amount: Money,
    /// When.
    pub created_at: OffsetDateTime,
    /// Who asked for it. Written for people, and not read again: nothing is decided by it.
    pub by: Option<Actor>,
}

/// Captured money that was returned, remembered by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The account.
    pub account_id: AccountId,
    /// The captured reservation.
    pub reserve_id: ReserveId,
    /// The caller's id.
    pub refund_id: RefundId,
    /// How much.
    pub amount: Money,
    /// When.
    pub created_at: OffsetDateTime,
    /// Who asked for it. Written for people, and not read again: nothing is decided by it.
    pub by: Option<Actor>,
}

impl Account {
    /// An account without money and without a statement.
    pub(super) fn empty(
        account_id: AccountId,
        currency: Currency,
        opening_balance: Money,
        created_at: OffsetDateTime,
    ) -> Self {
        let (balance, reserved) = (Money::ZERO, Money::ZERO);
        Self { account_id, currency, opening_balance, balance, reserved, entries: 0, created_at }
    }

    /// What a new reservation may take.
    pub fn available(&self) -> Money {
        self.balance.checked_sub(self.reserved).unwrap_or(Money::ZERO)
    }

    /// Whether the account can be charged or credited this much: its currency has as many decimal places, or it is all
    /// there is. What a version before stored with more places must not stay behind.
    pub(super) fn can_pay(&self, amount: Money, all: Money) -> bool {
        amount == all || self.currency.check(amount).is_ok()
    }

    /// Holds an amount. `None` when less is available.
    pub(super) fn hold(self, amount: Money) -> Option<Self> {
        let reserved = self.reserved.checked_add(amount).filter(|sum| *sum <= self.balance)?;
        Some(Self { reserved, ..self })
    }

    /// Gives a held amount back. `None` when less is held, which stored rows never say unless they are damaged.
    pub fn unhold(self, amount: Money) -> Option<Self> {
        Some(Self { reserved: self.reserved.checked_sub(amount)?, ..self })
    }

    /// Adds an amount, one line further. `None` beyond [`Money::MAX_BALANCE`].
    pub(super) fn credit(self, amount: Money) -> Option<Self> {
        let balance = self.balance.checked_add(amount)?;
        Some(Self { balance, entries: self.entries + 1, ..self })
    }

    /// Takes an amount out of one that was held, one line further. `None` when the rows are damaged.
    pub(super) fn debit(self, held: Money, taken: Money) -> Option<Self> {
        let free = self.unhold(held)?;
        let balance = free.balance.checked_sub(taken)?;
        Some(Self { balance, entries: self.entries + 1, ..free })
    }

    /// The statement's line for the change that led to `self`.
    pub(super) fn line(
        &self,
        kind: EntryKind,
        amount: Money,
        reference: &str,
        order_id: Option<OrderRef>,
        created_at: OffsetDateTime,
    ) -> Entry {
        Entry {
            account_id: self.account_id,
            sequence: self.entries,
            kind,
            amount,
            balance: self.balance,
            reference: reference.into(),
            order_id,
            created_at,
        }
    }
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Opening, Self::Deposit, Self::Capture, Self::Refund];

    /// Whether it adds to the balance.
    pub fn adds(self) -> bool {
        match self {
            Self::Opening | Self::Deposit | Self::Refund => true,
            Self::Capture => false,
        }
    }
}
