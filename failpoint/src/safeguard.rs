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
}

impl Safeguard {
    /// Every safeguard.
    pub const ALL: [Self; 6] = [
        Self::FenceCheck,
        Self::Tombstone,
        Self::DeclineMemory,
        Self::OrderUnique,
        Self::SingleReserveId,
        Self::ClaimCommit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::FenceCheck => "fence-check",
            Self::Tombstone => "tombstone",
            Self::DeclineMemory => "decline-memory",
            Self::OrderUnique => "order-unique",
            Self::SingleReserveId => "single-reserve-id",
            Self::ClaimCommit => "claim-commit",
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
