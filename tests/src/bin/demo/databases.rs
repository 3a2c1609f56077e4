//! Where the demo keeps its books.

use ::tests::HarnessError;
use ::tests::cluster::Databases;
use ::tests::postgres::{Postgres, create_database, database_url, drop_database};

use crate::args::Args;

/// SQLite files of the cluster, or two databases made on a given PostgreSQL server.
pub(crate) enum DemoDatabases {
    Sqlite,
    Postgres { server: String, names: [String; 2], _private: Option<Box<Postgres>> },
}

impl DemoDatabases {
    /// Makes the databases, with names that no other demo on the server uses now.
    pub(crate) async fn make(args: &Args) -> Result<Self, HarnessError> {
        let private =
            if args.private_postgres { Some(Box::new(Postgres::start().await?)) } else { None };
        let address = private.as_ref().map(|server| server.url("postgres"));
        let Some(server) = address.or_else(|| args.database_url.clone()) else {
            return Ok(Self::Sqlite);
        };
        let process = std::process::id();
        let names =
            ["account", "order"].map(|service| format!("holdfast_demo_{process}_{service}"));
        for name in &names {
            drop_database(&server, name).await?;
            create_database(&server, name).await?;
        }
        Ok(Self::Postgres { server, names, _private: private })
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres { .. } => "PostgreSQL",
        }
    }

    /// What the cluster is to use; `None`: files of its own.
    pub(crate) fn given(&self) -> Option<Databases> {
        match self {
            Self::Sqlite => None,
            Self::Postgres { server, names: [account, order], .. } => Some(Databases {
                account: database_url(server, account),
                order: database_url(server, order),
            }),
        }
    }

    /// Drops what was made.
    pub(crate) async fn remove(self) -> Result<(), HarnessError> {
        let Self::Postgres { server, names, .. } = &self else { return Ok(()) };
        for name in names {
            drop_database(server, name).await?;
        }
        Ok(())
    }
}
