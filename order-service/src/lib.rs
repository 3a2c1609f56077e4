//! The order service: each order is placed once, however often it is asked for.
//!
//! From the inside out:
//!
//! - [`order`] decides. Pure.
//! - [`storage`] loads and writes, one transaction a method, on PostgreSQL or SQLite.
//! - [`desk`] gathers jobs into batches and gives each batch to a worker that owns a connection.
//! - [`accounts`] is the account service, over the client channel.
//! - [`ledger_link`] makes sure that it works on the ledger that these orders are paid from.
//! - [`guard`] is a first look at Redis, if there is one; never the authority.
//! - [`placement`] drives a key from claimed to decided; [`settler`] tells the account service what was decided;
//!   [`housekeeping`] finishes what dead processes left.
//! - [`settlements`] is what an operator does about settlements that the account service refuses.
//! - [`grpc`] reads requests and writes answers.
//! - [`service`] puts it all together, [`args`] says how.

pub mod accounts;
pub mod args;
pub mod desk;
pub mod grpc;
pub mod guard;
pub mod housekeeping;
pub mod ledger_link;
pub mod order;
pub mod placement;
pub mod service;
pub mod settlements;
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
use settlements::SettlementsError;
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
    /// The database does not do what was asked of it.
    #[error("cannot use the database")]
    Database(#[from] StoreError),
    /// The settlements cannot be shown or changed.
    #[error("cannot do this to the settlements")]
    Settlements(#[from] SettlementsError),
    /// The database is to be read or changed where there is none.
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
        // Only a service and `migrate` make a database.
        if !matches!(config.task, None | Some(Task::Migrate)) && !path.exists() {
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
    let (database, leases, currency) = (config.database.clone(), config.leases, config.currency);
    let open = move || {
        S::open(&database, leases, currency).expect("the backend was chosen by this address")
    };
    match config.task {
        Some(Task::Migrate) => {
            migrate(open(), config.migrate_timeout).await.map(|()| ExitCode::SUCCESS)
        }
        Some(Task::Verify { outbox_age_max }) => verify(open(), outbox_age_max).await,
        Some(Task::Settlements(command)) => {
            settlements::run(open(), command).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Task::Resume { forget_ledger, is_copy }) => {
            resume(open(), forget_ledger, is_copy).await
        }
        None => {
            tracing::info!(database = %config.database, "order-service starts");
            if let Some(exposure) = config.database.exposure() {
                tracing::warn!("{exposure}");
            }
            if S::MIGRATES_AT_START {
                migrate(open(), MIGRATE_AT_START).await?;
            }
            let signals = Signals::of_process().map_err(RunError::Signals)?;
            let service = Service::bind(open, S::WRITERS_MAX, config).await?;
            Ok(service.run(signals).await.exit_code())
        }
    }
}

async fn resume<S: Store>(
    mut store: S,
    forget_ledger: bool,
    is_copy: bool,
) -> Result<ExitCode, RunError> {
    if forget_ledger {
        store.forget_ledger().await?;
    }
    let epoch = store.resume(is_copy).await?;
    println!("{}", serde_json::json!({ "epoch": epoch, "ledger_forgotten": forget_ledger }));
    Ok(ExitCode::SUCCESS)
}

async fn verify<S: Store>(mut store: S, outbox_age_max: Duration) -> Result<ExitCode, RunError> {
    let mut breaches = store.verify().await?;
    breaches.extend(store.stuck(outbox_age_max).await?.iter().map(verify::stuck));
    verify::report(breaches).map_err(RunError::Report)
}

async fn migrate<S: Store>(mut store: S, limit: Duration) -> Result<(), RunError> {
    Ok(migrate_within(limit, async || store.migrate().await).await?)
}

fn make_directory(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}
