//! The points, in the order in which an order meets them.

use std::{fmt, str::FromStr};

use crate::UnknownName;

/// A place in either service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// T0: nothing has been written.
    BeforeClaim,
    /// T0: the key's row is there.
    Claimed,
    /// D: a duplicate has read the row.
    DuplicateRead,
    /// T1: the fence is raised.
    TakenOver,
    /// T2: the money is held.
    Reserved,
    /// T2: the account service declined.
    Declined,
    /// T2: nobody knows whether the money is held.
    ReserveUnknown,
    /// T3: the key says what is expected, nothing else is written, nothing committed.
    SettleFenced,
    /// T3: all is written, nothing committed.
    SettleWritten,
    /// T3: the order is committed.
    Placed,
    /// T3': the refusal for want of stock is committed.
    SoldOut,
    /// T4: the decline is committed.
    DeclineStored,
    /// T5: the lease is over.
    HandedBack,
    /// T6: the answer to a COMMIT was lost.
    CommitUnknown,
    /// Settler: the account service was not told yet.
    BeforeTell,
    /// Settler: it was told, the outbox row is still there.
    Told,
    /// Settler: the row is gone.
    Finished,
    /// Outbox: rows that fell due are leased again.
    NoticesLeased,
    /// Completer: keys that were left behind are read.
    OverdueRead,
    /// Account worker: the rows are locked and loaded.
    AccountLoaded,
    /// Account worker: all is written, nothing committed.
    AccountWritten,
    /// Account worker: committed, nobody was answered.
    AccountCommitted,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 22] = [
        Self::BeforeClaim,
        Self::Claimed,
        Self::DuplicateRead,
        Self::TakenOver,
        Self::Reserved,
        Self::Declined,
        Self::ReserveUnknown,
        Self::SettleFenced,
        Self::SettleWritten,
        Self::Placed,
        Self::SoldOut,
        Self::DeclineStored,
        Self::HandedBack,
        Self::CommitUnknown,
        Self::BeforeTell,
        Self::Told,
        Self::Finished,
        Self::NoticesLeased,
        Self::OverdueRead,
        Self::AccountLoaded,
        Self::AccountWritten,
        Self::AccountCommitted,
    ];

    /// Whether it is in account-service.
    pub const fn is_of_accounts(self) -> bool {
        matches!(self, Self::AccountLoaded | Self::AccountWritten | Self::AccountCommitted)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::BeforeClaim => "before-claim",
            Self::Claimed => "claimed",
            Self::DuplicateRead => "duplicate-read",
            Self::TakenOver => "taken-over",
            Self::Reserved => "reserved",
            Self::Declined => "declined",
            Self::ReserveUnknown => "reserve-unknown",
            Self::SettleFenced => "settle-fenced",
            Self::SettleWritten => "settle-written",
            Self::Placed => "placed",
            Self::SoldOut => "sold-out",
            Self::DeclineStored => "decline-stored",
            Self::HandedBack => "handed-back",
            Self::CommitUnknown => "commit-unknown",
            Self::BeforeTell => "before-tell",
            Self::Told => "told",
            Self::Finished => "finished",
            Self::NoticesLeased => "notices-leased",
            Self::OverdueRead => "overdue-read",
            Self::AccountLoaded => "account-loaded",
            Self::AccountWritten => "account-written",
            Self::AccountCommitted => "account-committed",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Point {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|point| point.name() == text);
        found.ok_or(UnknownName("a fail point"))
    }
}
