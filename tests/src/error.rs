//! Why the harness could not do its part.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure of the harness or of what it runs, worded for the person at the terminal.
#[derive(Debug, Error)]
pub enum HarnessError {
    /// A program that has to be installed is not.
    #[error("{program} is missing: {hint}")]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// How to get it.
        hint: &'static str,
    },
    /// A program could not be started, or a file not be written.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program said that it failed.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// What was run.
        what: String,
        /// The end of what it printed.
        output: String,
    },
    /// A state was not reached within its bound.
    #[error("gave up waiting: {what} (log: {log})", log = .log.display())]
    Late {
        /// What was waited for.
        what: String,
        /// Where to look.
        log: PathBuf,
    },
    /// A database refused a statement of the harness.
    #[error("database: {what}")]
    Database {
        /// What was tried.
        what: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A call that prepares a test failed.
    #[error("{what}: {status}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// What was answered.
        status: Box<tonic::Status>,
    },
    /// An account that a run wants to open is somebody else's.
    #[error(
        "account {account_id} exists already, with another currency or opening balance: this run needs accounts that are \
         new, or that a run like it opened"
    )]
    AccountExists {
        /// Which.
        account_id: i64,
    },
    /// A channel to a pod could not be made.
    #[error("cannot connect")]
    Connect(#[from] tonic::transport::Error),
}

impl HarnessError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    pub(crate) fn call(what: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |status| Self::Call { what, status: Box::new(status) }
    }
}
