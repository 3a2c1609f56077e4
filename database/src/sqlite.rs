//! SQLite, in one file: in WAL mode, with every commit flushed to disk.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, SqliteConnection,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::time::timeout;

use crate::{
    Backend, Needs, Unready,
    backend::{late, run_migrations},
};

/// How long opening the file may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a SQLite writer waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection keeps of the file in memory at most: 64 MiB (in KiB, which SQLite wants negative), if it ever reads as
/// much. Keys are spread over the whole file, and with SQLite's own 2 MB most pages would be read anew for each batch.
const CACHE: &str = "-65536";

/// Pages in the write-ahead log after which they are moved to the file: 32 MiB. With SQLite's own 4 MB it happens every
/// third batch, which waits for it, though most pages change again in the next.
const CHECKPOINT: &str = "8192";

const HAS_HISTORY: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";

const SCHEMA_VERSION: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";

/// SQLite, in WAL mode with every commit flushed to disk.
#[derive(Debug)]
pub enum Sqlite {}

impl Sqlite {
    /// How to open the file at a path.
    pub fn options(path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
    }
}

impl Backend for Sqlite {
    type Database = sqlx::Sqlite;
    type Connection = SqliteConnection;
    type Options = SqliteConnectOptions;

    /// A deferred transaction that reads first and writes later can fail midway; this one waits at the door.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    fn by_key(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options
    }

    async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
        timeout(CONNECT_TIMEOUT, options.connect()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    async fn migrate(
        connection: &mut SqliteConnection,
        migrator: &Migrator,
    ) -> Result<(), MigrateError> {
        run_migrations(connection, migrator).await
    }

    async fn examine(
        connection: &mut SqliteConnection,
        needs: &Needs,
    ) -> sqlx::Result<Result<(), Unready>> {
        if !sqlx::query_scalar(HAS_HISTORY).fetch_one(&mut *connection).await? {
            return Ok(needs.judge_version(None));
        }
        let version = sqlx::query_scalar(SCHEMA_VERSION).fetch_one(connection).await?;
        Ok(needs.judge_version(version))
    }
}
