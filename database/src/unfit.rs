//! What makes a database, or the way to it, unfit for this program, found out by looking rather than by failing.

use thiserror::Error;

use crate::fault::Reason;

/// Why a connection that works must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A pooler hands the statements of one session to several servers, so neither settings (acknowledged means flushed)
    /// nor prepared statements nor locks stay where they were made.
    #[error(
        "a pooler in transaction or statement mode is in between, where settings and prepared statements do not last: \
         set pool_mode = session, or use the database's own address"
    )]
    Pooler,
    /// No server of the address takes writes.
    #[error("no server of the address takes writes: each is a standby or read-only")]
    ReadOnly,
    /// Text is not stored as UTF-8.
    #[error(
        "the database's encoding is {0}, and must be UTF8: create it with ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
}

impl Unfit {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Pooler => Reason::Pooler,
            Self::ReadOnly => Reason::ReadOnly,
            Self::Encoding(_) => Reason::Encoding,
        }
    }
}

impl From<Unfit> for sqlx::Error {
    fn from(unfit: Unfit) -> Self {
        Self::Configuration(Box::new(unfit))
    }
}
