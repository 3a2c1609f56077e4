//! Where the demo keeps its books.

use ::tests::HarnessError;
use ::tests::cluster::Databases;
use ::tests::postgres::{Postgres, create_database, drop_database};

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
                account: with_database(server, account),
                order: with_database(server, order),
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

/// The same server, another database: what stands between the host and any `?` is replaced.
fn with_database(server: &str, database: &str) -> String {
    let (address, parameters) = match server.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (server, String::new()),
    };
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let host_end = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    format!("{}/{database}{parameters}", &address[..host_end])
}

#[cfg(test)]
mod unit {
    use super::with_database;

    #[test]
    fn the_database_of_an_address_is_replaced_and_nothing_else() {
        for (server, expected) in [
            ("postgres://me:pw@host:1/postgres", "postgres://me:pw@host:1/orders"),
            ("postgres://host", "postgres://host/orders"),
            ("postgres://host/?sslmode=disable", "postgres://host/orders?sslmode=disable"),
        ] {
            assert_eq!(with_database(server, "orders"), expected);
        }
    }
}
