//! What a database's error means for the work that met it.

use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database is away, full or too busy, and stayed so through the bounded retries. Nothing was written.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// The connection broke after the commit was sent: it was written or it was not. Read before writing again.
    #[error("the outcome of a commit is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The database refused and would refuse again: a defect of ours. Nothing was written.
    #[error("the database refused a statement")]
    Failed(#[source] sqlx::Error),
}

/// The classes of database errors, by what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection cannot be used any more.
    Gone,
    /// Somebody else was first: the same transaction, run again, sees their work.
    Conflict,
    /// The database cannot do it now: full, locked, shutting down, not migrated yet.
    Busy,
    /// It would fail again.
    Defect,
}

/// Classifies what is the same on every backend; `None` is the database's own answer.
pub(crate) fn classify(error: &sqlx::Error) -> Option<Fault> {
    use sqlx::Error;
    if matches!(error, Error::Database(_)) {
        return None;
    }
    // Work that the lineage refuses: see `crate::lineage`.
    if matches!(error, Error::Configuration(_)) {
        return Some(Fault::Busy);
    }
    let gone = matches!(
        error,
        Error::Io(_)
            | Error::Tls(_)
            | Error::Protocol(_)
            | Error::WorkerCrashed
            | Error::BeginFailed
    );
    Some(if gone { Fault::Gone } else { Fault::Defect })
}
