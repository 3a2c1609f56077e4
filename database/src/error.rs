//! What is told to whoever handed work to a session.

use thiserror::Error;

use crate::{Diagnosis, Reason};

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database is away, full, closed or too busy, and stayed so through the bounded retries. Nothing was written.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The connection broke after the commit was sent: it was written or it was not. Read before writing again.
    #[error("the outcome of a commit is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The database refused and would refuse again: a defect of ours. Nothing was written.
    #[error("the database refused a statement")]
    Failed(#[source] sqlx::Error),
}

impl StoreError {
    /// What the database said, read.
    pub fn diagnosis(&self) -> Diagnosis {
        match self {
            Self::Unavailable(error) | Self::OutcomeUnknown(error) | Self::Failed(error) => {
                Diagnosis::of(error)
            }
        }
    }

    /// Why, in a bounded number of words.
    pub fn reason(&self) -> Reason {
        self.diagnosis().reason
    }
}
