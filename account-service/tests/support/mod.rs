//! What the tests against databases share: a fresh database of either kind for each test.

use std::sync::Arc;

use account_service::storage::{Store, Tables};
use database::{DatabaseUrl, Postgres, Sqlite};
use tempfile::TempDir;
use tests::shared_postgres::{self, Shared};

/// A migrated database that nobody else uses. It goes away with this value.
pub(crate) struct Place<B: Tables> {
    pub(crate) options: B::Options,
    pub(crate) url: String,
    _kept: Kept,
}

/// What must live as long as the database.
enum Kept {
    Directory { _directory: TempDir },
    Server { _server: Arc<Shared> },
}

/// A kind of database that tests can make.
pub(crate) trait Fresh: Tables {
    /// An empty database, without tables.
    fn empty() -> impl Future<Output = Place<Self>> + Send
    where
        Self: Sized;

    /// A migrated one.
    fn fresh() -> impl Future<Output = Place<Self>> + Send
    where
        Self: Sized,
    {
        async {
            let place = Self::empty().await;
            place.store().migrate().await.unwrap();
            place
        }
    }
}

impl<B: Tables> Place<B> {
    /// A store with a connection of its own.
    pub(crate) fn store(&self) -> Store<B> {
        Store::new(self.options.clone())
    }
}

impl Fresh for Sqlite {
    async fn empty() -> Place<Self> {
        let directory = TempDir::with_prefix("account-service-").unwrap();
        let file = directory.path().join("account.db");
        let kept = Kept::Directory { _directory: directory };
        let url = format!("sqlite://{}", file.display());
        Place { options: Sqlite::options(&file), url, _kept: kept }
    }
}

impl Fresh for Postgres {
    async fn empty() -> Place<Self> {
        let server = shared_postgres::shared().await;
        let url = server.create_database().await.unwrap();
        let DatabaseUrl::Postgres(address) = url.parse().unwrap() else {
            unreachable!("the harness makes PostgreSQL addresses")
        };
        let options = Postgres::options(*address, "account-service tests");
        Place { options, url, _kept: Kept::Server { _server: server } }
    }
}
