//! Where the books of a run are.

use tempfile::TempDir;

use super::schedule::Backend;
use crate::HarnessError;
use crate::cluster::{Databases, sqlite_in};
use crate::postgres::{Postgres, create_database};

/// Where the books are to be.
#[derive(Clone, Debug)]
pub enum Place {
    /// A private PostgreSQL, which can be killed.
    Private,
    /// Databases made on this server, which is left alone. The address is of any database there.
    Server(String),
    /// Files.
    Sqlite,
}

impl Place {
    /// What faults it can have.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::Private => Backend::Postgres,
            Self::Server(_) | Self::Sqlite => Backend::Sqlite,
        }
    }

    /// Makes two empty databases there, files in this directory.
    pub(super) async fn databases(
        &self,
        directory: &TempDir,
    ) -> Result<(Option<Postgres>, Databases), HarnessError> {
        match self {
            Self::Sqlite => Ok((None, sqlite_in(directory.path()))),
            Self::Private => {
                let server = Postgres::start().await?;
                let account = server.create_database("account").await?;
                let order = server.create_database("orders").await?;
                Ok((Some(server), Databases { account, order }))
            }
            Self::Server(url) => {
                let base = url.rsplit_once('/').map_or(url.as_str(), |(base, _)| base);
                let mut made = Vec::new();
                for name in ["account", "orders"] {
                    let name = format!("chaos_{}_{name}", std::process::id());
                    create_database(url, &name).await?;
                    made.push(format!("{base}/{name}"));
                }
                let order = made.pop().expect("two were made");
                Ok((None, Databases { account: made.pop().expect("two were made"), order }))
            }
        }
    }
}
