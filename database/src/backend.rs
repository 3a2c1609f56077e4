//! The two databases: how each is connected to, how it begins a write, how its errors are read.

use std::{future::Future, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, SqliteConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{Fault, error, lineage::LineageTables};

/// What every connection relies on, whatever the server's or the role's defaults are: acknowledged means flushed, each
/// statement sees what was committed before it, and a stuck worker holds no lock for ever.
const POSTGRES_SETTINGS: [(&str, &str); 5] = [
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
];

/// Rows are found by their keys, and a statement is planned once for its connection.
///
/// Without this the planner goes by statistics, and a young table has none: it takes the table for a few pages, plans
/// to read all of it for each batch, and a long-lived connection keeps that plan while the table grows.
const POSTGRES_BY_KEY: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Else a nested loop may read a small table once and keep it, instead of looking rows up.
    ("enable_material", "off"),
    // A plan that a switched-off method makes dear would be compiled for each batch.
    ("jit", "off"),
];

/// How long a SQLite writer waits for another process's write.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection keeps of the file in memory at most: 64 MiB (in KiB, which SQLite wants negative), if it ever reads as
/// much. Keys are spread over the whole file, and with SQLite's own 2 MB most pages would be read anew for each batch.
const SQLITE_CACHE: &str = "-65536";

/// Pages in the write-ahead log after which they are moved to the file: 32 MiB. With SQLite's own 4 MB it happens every
/// third batch, which waits for it, though most pages change again in the next.
const SQLITE_CHECKPOINT: &str = "8192";

/// A database that a [`crate::Session`] can speak to.
pub trait Backend: Send + Sync + 'static {
    /// sqlx's name for it.
    type Database: sqlx::Database<Connection = Self::Connection>;
    /// One connection.
    type Connection: Connection<Database = Self::Database, Options = Self::Options>
        + LineageTables
        + Send;
    /// How to connect.
    type Options: ConnectOptions<Connection = Self::Connection> + Clone + Send + Sync;

    /// Begins a transaction that will write.
    const BEGIN: &'static str;

    /// Options for a worker, whose every statement finds its rows by their keys. Not for reading whole tables.
    fn by_key(options: Self::Options) -> Self::Options;

    /// Runs a statement that has no parameters and no rows.
    fn execute(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Brings the schema up to date. Safe to run from several processes at once.
    fn migrate(
        connection: &mut Self::Connection,
        migrator: &Migrator,
    ) -> impl Future<Output = Result<(), MigrateError>> + Send;

    /// Says what an error means.
    fn classify(error: &sqlx::Error) -> Fault;
}

/// PostgreSQL, any version that sqlx speaks to; tested with 15.
#[derive(Debug)]
pub enum Postgres {}

/// SQLite, in WAL mode with every commit flushed to disk.
#[derive(Debug)]
pub enum Sqlite {}

impl Postgres {
    /// How to connect to the server at an address, with the limits above. The application name is shown in
    /// `pg_stat_activity`.
    pub fn options(address: PgConnectOptions, application: &str) -> PgConnectOptions {
        address.options(POSTGRES_SETTINGS).application_name(application).disable_statement_logging()
    }
}

impl Backend for Postgres {
    type Database = sqlx::Postgres;
    type Connection = PgConnection;
    type Options = PgConnectOptions;

    const BEGIN: &'static str = "BEGIN";

    fn by_key(options: PgConnectOptions) -> PgConnectOptions {
        options.options(POSTGRES_BY_KEY)
    }

    async fn execute(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    async fn migrate(
        connection: &mut PgConnection,
        migrator: &Migrator,
    ) -> Result<(), MigrateError> {
        migrator.run_direct(None, connection, false).await
    }

    fn classify(error: &sqlx::Error) -> Fault {
        if let Some(fault) = error::classify(error) {
            return fault;
        }
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
        match code.as_ref() {
            // serialization failure, deadlock, unique violation
            "40001" | "40P01" | "23505" => Fault::Conflict,
            // statement timeout, lock timeout, no such table or column: not migrated yet
            "57014" | "55P03" | "42P01" | "42703" => Fault::Busy,
            // a standby after a fail-over; a plan made for another schema
            "25006" | "0A000" => Fault::Gone,
            // the server ended a transaction that had sat idle: this process had been stopped
            "25P03" | "25P04" => Fault::Gone,
            // connection errors, operator intervention
            code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("28") => {
                Fault::Gone
            }
            // out of disk, memory or connections; I/O errors
            code if code.starts_with("53") || code.starts_with("58") => Fault::Busy,
            _ => Fault::Defect,
        }
    }
}

impl Sqlite {
    /// How to open the file at a path.
    pub fn options(path: &std::path::Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", SQLITE_CACHE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT)
            .busy_timeout(SQLITE_BUSY_TIMEOUT)
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

    async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    async fn migrate(
        connection: &mut SqliteConnection,
        migrator: &Migrator,
    ) -> Result<(), MigrateError> {
        migrator.run_direct(None, connection, false).await
    }

    fn classify(error: &sqlx::Error) -> Fault {
        if let Some(fault) = error::classify(error) {
            return fault;
        }
        let code = error.as_database_error().and_then(|e| e.code()).unwrap_or_default();
        let code: u32 = code.parse().unwrap_or_default();
        match (code, code & 0xff) {
            // a snapshot that a writer overtook; unique and primary key violations
            (517 | 1555 | 2067, _) => Fault::Conflict,
            // busy, locked, read-only, disk full
            (_, 5 | 6 | 8 | 13) => Fault::Busy,
            // I/O error, cannot open
            (_, 10 | 14) => Fault::Gone,
            _ => Fault::Defect,
        }
    }
}
