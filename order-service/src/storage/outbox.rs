//! What stands in the outbox, as an operator sees it.

use std::time::Duration;

use proto::Reason;
use time::OffsetDateTime;

use crate::order::Notice;

/// When a refused notice is told again: after this, and after twice as long each further time.
pub(super) const REFUSED_PAUSE_MIN: Duration = Duration::from_secs(60);

/// The longest of these pauses.
pub(super) const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// Rows that `verify` names; all of them are in the list.
pub(super) const STUCK_MAX: usize = 100;

/// A notice that the account service refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedNotice {
    /// What it was told.
    pub notice: Notice,
    /// Why it refused.
    pub reason: Reason,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What the account service must still be told.
    pub notice: Notice,
    /// Why it refused, when it was told last. `None`: it has not refused.
    pub refused: Option<String>,
    /// How often it was told, the attempt under way included; 0 while its writer tells it for the first time.
    pub attempts: i32,
    /// When it was decided; for rows of before this column, when the column was added.
    pub created_at: OffsetDateTime,
    /// When it is told again.
    pub due_at: OffsetDateTime,
}

/// How much stands in the outbox.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Rows that the account service refused.
    pub refused: u64,
    /// Age of the oldest row that its writer did not settle. Zero: there is none.
    pub oldest: Duration,
}

impl Backlog {
    /// Nothing stands there.
    pub const NONE: Self = Self { refused: 0, oldest: Duration::ZERO };
}

/// What came of resolving a settlement by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// The row is gone, and recorded.
    Done(Waiting),
    /// It is not refused: it will be told, and needs no resolution.
    NotRefused,
    /// There is no such row.
    Unknown,
}
