//! The safeguards whose absence the checkers must notice.

use std::{fmt, str::FromStr};

use crate::UnknownName;

/// Something without which money or orders go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Safeguard {
    /// A decision is written only where the fence is still the worker's and nothing is decided.
    FenceCheck,
    /// Releasing what is not known leaves a row that refuses a later Reserve.
    Tombstone,
    /// A declined Reserve is stored.
    DeclineMemory,
    /// One order a key in the table of orders, which speaks for the key whatever became of its row.
    OrderUnique,
    /// Every worker of a key reserves under the same id.
    SingleReserveId,
    /// The claim is committed before the account service is called.
    ClaimCommit,
    /// Equal jobs of one batch get equal answers.
    BatchDuplicates,
    /// A cancel whose refund is refused gives back the rest.
    RefundRest,
    /// An order's id is derived from its key.
    DerivedIds,
    /// A caller may do only what its rights say, and only to its own accounts.
    Authorisation,
}

impl Safeguard {
    /// Every safeguard.
    pub const ALL: [Self; 10] = [
        Self::FenceCheck,
        Self::Tombstone,
        Self::DeclineMemory,
        Self::OrderUnique,
        Self::SingleReserveId,
        Self::ClaimCommit,
        Self::BatchDuplicates,
        Self::RefundRest,
        Self::DerivedIds,
        Self::Authorisation,
    ];

    /// Whether ids are drawn without this safeguard. Derived ids would keep the harm of the others here from happening:
    /// two orders by one key have one primary key then, and duplicates one reservation.
    pub const fn draws_ids(self) -> bool {
        match self {
            Self::OrderUnique | Self::ClaimCommit | Self::DerivedIds => true,
            Self::FenceCheck
            | Self::Tombstone
            | Self::DeclineMemory
            | Self::SingleReserveId
            | Self::BatchDuplicates
            | Self::RefundRest
            | Self::Authorisation => false,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::FenceCheck => "fence-check",
            Self::Tombstone => "tombstone",
            Self::DeclineMemory => "decline-memory",
            Self::OrderUnique => "order-unique",
            Self::SingleReserveId => "single-reserve-id",
            Self::ClaimCommit => "claim-commit",
            Self::BatchDuplicates => "batch-duplicates",
            Self::RefundRest => "refund-rest",
            Self::DerivedIds => "derived-ids",
            Self::Authorisation => "authorisation",
        }
    }
}

impl fmt::Display for Safeguard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Safeguard {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.into_iter().find(|safeguard| safeguard.name() == text);
        found.ok_or(UnknownName("a safeguard"))
    }
}
