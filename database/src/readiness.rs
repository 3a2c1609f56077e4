//! Whether a database can serve this build, and if not, why, in a sentence for whoever reads the readiness page.

use sqlx::migrate::Migrator;
use thiserror::Error;

use crate::{Backend, Reason, Session, Transaction, unfit::Unfit};

/// What a service needs of its database.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// Whose `migrate` is to be run.
    pub program: &'static str,
    /// The schema's history, as far as this build knows it. A newer schema is fine.
    pub migrator: &'static Migrator,
    /// Tables, each with a privilege that the service's role must have on it.
    pub privileges: &'static [(&'static str, &'static str)],
}

/// Why a database cannot serve this build.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unready {
    /// It cannot be asked, or refused to answer.
    #[error("{0}")]
    Away(Reason),
    /// It answers, and must not be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// `migrate` was not run, or only that of an older build.
    #[error(
        "the schema is not up to date (version {found}, needed {needed}): run `{program} migrate`"
    )]
    Schema {
        /// Whose.
        program: &'static str,
        /// The newest migration that was applied; 0: none.
        found: i64,
        /// The newest that this build knows.
        needed: i64,
    },
    /// The service's role may not do something that it needs.
    #[error("this role lacks a privilege: {0}")]
    Privilege(String),
    /// Something that only one service needs, such as room for today's keys.
    #[error("{0}")]
    Missing(&'static str),
}

impl Unready {
    /// Why, in a bounded number of words.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Away(reason) => *reason,
            Self::Unfit(unfit) => unfit.reason(),
            Self::Schema { .. } => Reason::NotMigrated,
            Self::Privilege(_) => Reason::Privilege,
            Self::Missing(_) => Reason::Other,
        }
    }
}

impl Needs {
    /// Whether a schema is at least as new as this build's.
    pub(crate) fn judge_version(&self, found: Option<i64>) -> Result<(), Unready> {
        let needed = self.migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
        let found = found.unwrap_or(0);
        if found >= needed {
            Ok(())
        } else {
            Err(Unready::Schema { program: self.program, found, needed })
        }
    }
}

impl<B: Backend> Session<B> {
    /// Looks whether the database can serve: it answers, takes writes, has the schema, and lets this role do its work.
    ///
    /// # Errors
    /// Why not.
    pub async fn examine(&mut self, needs: &Needs) -> Result<(), Unready> {
        match self.look(&mut Examine(needs)).await {
            Ok(found) => found,
            Err(error) => Err(Unready::Away(error.reason())),
        }
    }
}

struct Examine<'a>(&'a Needs);

impl<B: Backend> Transaction<B> for Examine<'_> {
    const NAME: &'static str = "examine";
    type Output = Result<(), Unready>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        B::examine(connection, self.0).await
    }
}
