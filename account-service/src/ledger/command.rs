//! What callers may ask for, checked and typed, and which rows that touches.

use std::collections::BTreeSet;

use proto::{
    Currency, Money,
    id::{AccountId, Actor, DepositId, OrderRef, RefundId, ReserveId},
};
use time::Duration;

/// One change that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// See [`OpenAccount`].
    Open(OpenAccount),
    /// See [`PostDeposit`].
    Deposit(PostDeposit),
    /// See [`Reserve`].
    Reserve(Reserve),
    /// See [`Capture`].
    Capture(Capture),
    /// See [`Release`].
    Release(Release),
    /// See [`PostRefund`].
    Refund(PostRefund),
}

/// Opens an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAccount {
    /// Whose.
    pub account_id: AccountId,
    /// What its amounts are counted in.
    pub currency: Currency,
    /// What it starts with; may be zero.
    pub opening_balance: Money,
}

/// Adds money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostDeposit {
    /// Where.
    pub account_id: AccountId,
    /// The caller's id.
    pub deposit_id: DepositId,
    /// How much.
    pub amount: Money,
    /// Who asks, as far as that is known. Remembered, and no part of what makes two requests the same.
    pub by: Option<Actor>,
}

/// Holds money for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// Where.
    pub account_id: AccountId,
    /// The caller's id.
    pub reserve_id: ReserveId,
    /// What for.
    pub order_id: OrderRef,
    /// How much.
    pub amount: Money,
    /// What it is counted in; `None` is not checked.
    pub currency: Option<Currency>,
    /// How long at most.
    pub ttl: Duration,
}

/// Takes held money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Where.
    pub account_id: AccountId,
    /// The hold.
    pub reserve_id: ReserveId,
    /// How much; `None` is all of it.
    pub amount: Option<Money>,
}

/// Gives held money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Where.
    pub account_id: AccountId,
    /// The hold.
    pub reserve_id: ReserveId,
}

/// Returns captured money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostRefund {
    /// Where.
    pub account_id: AccountId,
    /// The captured reservation.
    pub reserve_id: ReserveId,
    /// The caller's id.
    pub refund_id: RefundId,
    /// How much; `None` is all that is left of what was captured.
    pub amount: Option<Money>,
    /// Who asks, as far as that is known. Remembered, and no part of what makes two requests the same.
    pub by: Option<Actor>,
}

/// The rows that a batch names, sorted and each once. Accounts are locked in this order, so that two batches that
/// overlap wait for each other instead of deadlocking.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    /// Accounts to lock and load.
    pub accounts: BTreeSet<AccountId>,
    /// Reservations to load.
    pub reservations: BTreeSet<(AccountId, &'a ReserveId)>,
    /// Deposits to load.
    pub deposits: BTreeSet<(AccountId, &'a DepositId)>,
    /// Refunds to load.
    pub refunds: BTreeSet<(AccountId, &'a ReserveId, &'a RefundId)>,
}

impl Command {
    /// The account it is about: the shard key.
    pub fn account_id(&self) -> AccountId {
        match self {
            Self::Open(open) => open.account_id,
            Self::Deposit(deposit) => deposit.account_id,
            Self::Reserve(reserve) => reserve.account_id,
            Self::Capture(capture) => capture.account_id,
            Self::Release(release) => release.account_id,
            Self::Refund(refund) => refund.account_id,
        }
    }

    /// The same, asked for by this caller.
    #[must_use]
    pub fn asked_by(self, by: Option<Actor>) -> Self {
        match self {
            Self::Deposit(deposit) => Self::Deposit(PostDeposit { by, ..deposit }),
            Self::Refund(refund) => Self::Refund(PostRefund { by, ..refund }),
            unsigned @ (Self::Open(_) | Self::Reserve(_) | Self::Capture(_) | Self::Release(_)) => {
                unsigned
            }
        }
    }

    /// What it is called in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Deposit(_) => "deposit",
            Self::Reserve(_) => "reserve",
            Self::Capture(_) => "capture",
            Self::Release(_) => "release",
            Self::Refund(_) => "refund",
        }
    }
}

impl<'a> Named<'a> {
    /// Lists the rows that these commands name.
    pub fn by(commands: &'a [Command]) -> Self {
        Self::of(commands.iter())
    }

    /// As [`Named::by`], but without the reservations that are only to be made: hardly any of them was made before.
    pub fn expecting_new(commands: &'a [Command]) -> Self {
        let others = commands.iter().filter(|command| !matches!(command, Command::Reserve(_)));
        Self { reservations: Self::of(others).reservations, ..Self::by(commands) }
    }

    fn of(commands: impl Iterator<Item = &'a Command>) -> Self {
        let mut named = Self::default();
        for command in commands {
            let account = command.account_id();
            named.accounts.insert(account);
            match command {
                Command::Open(_) => {}
                Command::Deposit(deposit) => {
                    named.deposits.insert((account, &deposit.deposit_id));
                }
                Command::Reserve(Reserve { reserve_id, .. })
                | Command::Capture(Capture { reserve_id, .. })
                | Command::Release(Release { reserve_id, .. }) => {
                    named.reservations.insert((account, reserve_id));
                }
                Command::Refund(refund) => {
                    named.reservations.insert((account, &refund.reserve_id));
                    named.refunds.insert((account, &refund.reserve_id, &refund.refund_id));
                }
            }
        }
        named
    }
}
