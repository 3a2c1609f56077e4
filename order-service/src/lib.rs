//! The order service: each order is placed once, however often it is asked for.
//!
//! From the inside out:
//!
//! - [`order`] decides. Pure.
//! - [`storage`] loads and writes, one transaction a method, on PostgreSQL or SQLite.
//! - [`desk`] gathers jobs into batches and gives each batch to a worker that owns a connection.
//! - [`accounts`] is the account service, over the client channel.
//! - [`guard`] is a first look at Redis, if there is one; never the authority.
//! - [`placement`] drives a key from claimed to decided; [`settler`] tells the account service what was decided;
//!   [`housekeeping`] finishes what dead processes left.
//! - [`grpc`] reads requests and writes answers.
//! - [`service`] puts it all together, [`args`] says how.

pub mod accounts;
pub mod args;
pub mod desk;
pub mod grpc;
pub mod guard;
pub mod housekeeping;
pub mod order;
pub mod placement;
pub mod service;
pub mod settler;
pub mod storage;
pub mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use database::{DatabaseUrl, StoreError, migrate_within};
use server::Signals;
use sqlx::migrate::MigrateError;
use thiserror::Error;

use args::{Args, Config, Task};
use service::{Service, StartError};
use storage::{Store, postgres::PostgresStore, sqlite::SqliteStore};

/// How long a service that migrates by itself waits at its start: only another process at the same file passes.
const MIGRATE_AT_START: Duration = Duration::from_secs(10);

/// Why the program ended without doing what it was asked.
#[derive(Debug, Error)]
pub enum RunError {
    /// The directory of the database's file cannot be made.
    #[error("cannot make the directory of the database")]
    Directory(#[source] io::Error),
    /// The schema cannot be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[from] MigrateError),
    /// The invariants cannot be checked.
    #[error("cannot verify the database")]
    Verify(#[from] StoreError),
    /// The invariants are to be checked where there is no database.
    #[error("there is no database at {0}")]
    NoDatabase(PathBuf),
    /// What was found cannot be told.
    #[error("cannot write the report")]
    Report(#[source] io::Error),
    /// The service cannot be started.
    #[error("cannot start")]
    Start(#[from] StartError),
    /// The system refuses a signal handler.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

/// The whole program: reads the flags and the environment, runs, and says on standard error why it could not.
pub fn main() -> ExitCode {
    let threads = |config: &Config| config.serve.worker_threads;
    server::program("order-service", Args::parse().validate(), threads, run)
}

/// Does what was asked for, on the database that was asked for, and says how the process should exit.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: Config) -> Result<ExitCode, RunError> {
    server::logging::init(&config.log);
    failpoint::arm(config.failpoints);
    if let DatabaseUrl::Sqlite(path) = &config.database {
        if config.task == Some(Task::Verify) && !path.exists() {
            return Err(RunError::NoDatabase(path.clone()));
        }
        make_directory(path).map_err(RunError::Directory)?;
    }
    match config.database {
        DatabaseUrl::Postgres(_) => run_on::<PostgresStore>(config).await,
        DatabaseUrl::Sqlite(_) => run_on::<SqliteStore>(config).await,
    }
}

async fn run_on<S: Store>(config: Config) -> Result<ExitCode, RunError> {
    let (database, leases) = (config.database.clone(), config.leases);
    let open = move || S::open(&database, leases).expect("the backend was chosen by this address");
    match config.task {
        Some(Task::Migrate) => {
            migrate(open(), config.migrate_timeout).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Task::Verify) => verify::report(open().verify().await?).map_err(RunError::Report),
        None => {
            tracing::info!(database = %config.database, "order-service starts");
            if S::MIGRATES_AT_START {
                migrate(open(), MIGRATE_AT_START).await?;
            }
            let signals = Signals::of_process().map_err(RunError::Signals)?;
            let service = Service::bind(open, S::WRITERS_MAX, config).await?;
            Ok(service.run(signals).await.exit_code())
        }
    }
}

async fn migrate<S: Store>(mut store: S, limit: Duration) -> Result<(), RunError> {
    Ok(migrate_within(limit, async || store.migrate().await).await?)
}

fn make_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}
