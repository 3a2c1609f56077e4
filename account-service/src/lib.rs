//! The account service: balances, and reservations that hold part of them for orders.
//!
//! From the inside out:
//!
//! - [`ledger`] decides. Pure.
//! - [`storage`] loads what a batch of commands names, lets the ledger decide, and writes the result, in one
//!   transaction, on PostgreSQL or SQLite.
//! - [`desk`] gathers commands into batches and gives each batch to a worker that owns a connection.
//! - [`grpc`] reads requests and writes answers.
//! - [`sweeper`] expires holds, [`audit`] checks the books, [`service`] puts it all together, [`args`] says how.

pub mod args;
pub mod audit;
pub mod desk;
pub mod grpc;
pub mod ledger;
pub mod service;
pub mod storage;
pub mod sweeper;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use database::{DatabaseUrl, Postgres, Sqlite, StoreError, migrate_within};
use server::{BindError, Signals};
use sqlx::migrate::MigrateError;
use thiserror::Error;

use args::{Args, Config, Task};
use service::Service;
use storage::{Store, Tables};

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
    /// The database does not do what was asked of it.
    #[error("cannot use the database")]
    Database(#[from] StoreError),
    /// The books are to be read where there are none.
    #[error("there is no database at {0}")]
    NoDatabase(PathBuf),
    /// What was found cannot be told.
    #[error("cannot write the report")]
    Report(#[source] io::Error),
    /// A port cannot be taken.
    #[error("cannot serve")]
    Bind(#[from] BindError),
    /// The system refuses a signal handler.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

/// The whole program: reads the flags and the environment, runs, and says on standard error why it could not.
pub fn main() -> ExitCode {
    let threads = |config: &Config| config.serve.worker_threads;
    server::program("account-service", Args::parse().validate(), threads, run)
}

/// Does what was asked for, on the database that was asked for, and says how the process should exit.
///
/// # Errors
/// See [`RunError`].
pub async fn run(config: Config) -> Result<ExitCode, RunError> {
    server::logging::init(&config.log);
    failpoint::arm(config.failpoints);
    match config.database.clone() {
        DatabaseUrl::Postgres(address) => {
            run_on::<Postgres>(Postgres::options(*address, "account-service"), config).await
        }
        DatabaseUrl::Sqlite(path) => {
            if config.task == Some(Task::Verify) && !path.exists() {
                return Err(RunError::NoDatabase(path));
            }
            make_directory(&path).map_err(RunError::Directory)?;
            run_on::<Sqlite>(Sqlite::options(&path), config).await
        }
    }
}

async fn run_on<B: Tables>(options: B::Options, config: Config) -> Result<ExitCode, RunError> {
    match config.task {
        Some(Task::Migrate) => {
            migrate::<B>(options, config.migrate_timeout).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Task::Verify) => {
            let report = audit::audit::<B>(options).await?;
            tell(&serde_json::json!(report)).map_err(RunError::Report)?;
            Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some(Task::Resume { copy }) => {
            let epoch = Store::<B>::new(options).resume(copy).await?;
            println!("{}", serde_json::json!({ "epoch": epoch }));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            tracing::info!(database = %config.database, "account-service starts");
            if let Some(exposure) = config.database.exposure() {
                tracing::warn!("{exposure}");
            }
            if B::MIGRATES_AT_START {
                migrate::<B>(options.clone(), MIGRATE_AT_START).await?;
            }
            let signals = Signals::of_process().map_err(RunError::Signals)?;
            let service = Service::bind::<B>(options, config).await?;
            Ok(service.run(signals).await.exit_code())
        }
    }
}

async fn migrate<B: Tables>(options: B::Options, limit: Duration) -> Result<(), MigrateError> {
    let mut store = Store::<B>::new(options);
    migrate_within(limit, async || store.migrate().await).await
}

/// Prints a report. A reader who stopped reading has read enough, and the exit code says the rest; a full disk has not.
fn tell(report: &serde_json::Value) -> io::Result<()> {
    match writeln!(io::stdout(), "{report}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => told,
    }
}

fn make_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}
