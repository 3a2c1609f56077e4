//! Flags and environment variables: the only place that reads the environment.
//!
//! clap collects text, [`Args::validate`] judges all of it at once. Passwords are never printed.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use database::DatabaseUrl;
use proto::PageKeys;
use server::{
    Problems, ServeConfig,
    args::{LogArgs, Secret, ServeArgs, secret},
    logging::LogConfig,
};

use crate::grpc::{self, Defaults};

/// Balances, and reservations that hold part of them for orders.
#[derive(Debug, Parser)]
#[command(name = "account-service", version)]
pub struct Args {
    #[command(subcommand)]
    task: Option<Task>,
    /// postgres://user:password@host/name, or sqlite://PATH (made if it is missing) [default: sqlite://data/account.db]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// A file that holds this URL, so that no password is on a command line or in the environment
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    database_url_file: Option<PathBuf>,
    /// `migrate` waits this long for a database that is not there yet
    #[arg(long, env = "MIGRATE_TIMEOUT", value_name = "TIME", default_value = "5m", global = true)]
    migrate_timeout: String,
    /// Connections to the database: one for the sweeper, the others for changes and for reads
    #[arg(long, env = "DATABASE_CONNECTIONS", value_name = "N", default_value = "4")]
    database_connections: String,
    /// Currency of accounts that are opened without one
    #[arg(long, env = "DEFAULT_CURRENCY", value_name = "ISO 4217", default_value = "USD")]
    default_currency: String,
    /// Lifetime of holds that are requested without one
    #[arg(long, env = "DEFAULT_HOLD_TTL", value_name = "TIME", default_value = "7d")]
    default_hold_ttl: String,
    /// Interval at which due holds are swept
    #[arg(long, env = "SWEEP_INTERVAL", value_name = "TIME", default_value = "1s")]
    sweep_interval: String,
    /// A file with the keys of page tokens, one per line: the first makes them [default: derived from the database's id]
    #[arg(long, env = "PAGE_TOKEN_KEY_FILE", value_name = "FILE")]
    page_token_key_file: Option<PathBuf>,
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    failpoints: failpoint::FailArgs,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Bring the database's schema up to date, and exit
    Migrate,
    /// Check the books, print a JSON report, and exit with 1 on any breach
    Verify,
    /// Accept that a restore or a fail-over lost commits, and let the service work on this database again
    Resume {
        /// Also give the database another identity: it is a copy, and the original goes on
        #[arg(long)]
        copy: bool,
    },
}

/// Everything that was asked for, valid.
#[derive(Debug)]
pub struct Config {
    /// `None`: serve.
    pub task: Option<Task>,
    /// Where the ledger is.
    pub database: DatabaseUrl,
    /// How long `migrate` waits for the database.
    pub migrate_timeout: Duration,
    /// Connections in all; at least 3.
    pub connections: usize,
    /// What requests may leave open.
    pub defaults: Defaults,
    /// How often due holds are swept.
    pub sweep_interval: Duration,
    /// What page tokens are made with; `None`: what is derived from the database's id.
    pub page_keys: Option<PageKeys>,
    /// How to serve.
    pub serve: ServeConfig,
    /// What to log.
    pub log: LogConfig,
    /// What goes wrong on purpose; nothing, in a program without fail points.
    pub failpoints: failpoint::Plan,
}

/// A writer, a reader and the sweeper.
const CONNECTIONS_MIN: usize = 3;

/// More than any database wants from one process.
const CONNECTIONS_MAX: usize = 256;

/// A database that takes longer to appear needs a person.
const MIGRATE_TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

const DATABASE: &str = "sqlite://data/account.db";

const PORT: u16 = 50051;
const ADMIN_PORT: u16 = 9081;

impl Args {
    /// Judges every value.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(self) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        let serve = self.serve.validate(ServeConfig::on_ports(PORT, ADMIN_PORT), &mut problems);
        let log = self.log.validate(&mut problems);
        let page_keys = page_keys(&mut problems, self.page_token_key_file);
        let database = database(&mut problems, self.database_url, self.database_url_file);
        let migrate_timeout =
            problems.parse("--migrate-timeout", &self.migrate_timeout, migrate_timeout);
        let connections =
            problems.parse("--database-connections", &self.database_connections, connections);
        let currency = problems.parse("--default-currency", &self.default_currency, str::parse);
        let hold_ttl =
            problems.parse("--default-hold-ttl", &self.default_hold_ttl, grpc::default_ttl);
        let sweep_interval =
            problems.parse("--sweep-interval", &self.sweep_interval, sweep_interval);
        problems.none_or(())?;
        let config = || {
            let defaults = Defaults { currency: currency?, hold_ttl: hold_ttl? };
            Some(Config {
                task: self.task,
                database: database?,
                migrate_timeout: migrate_timeout?,
                connections: connections?,
                defaults,
                sweep_interval: sweep_interval?,
                page_keys,
                serve,
                log,
                failpoints: self.failpoints.plan(),
            })
        };
        Ok(config().expect("a value is missing only when it was a problem"))
    }
}

/// Not through [`Problems::parse`], which repeats the value: it may hold a password.
fn database(
    problems: &mut Problems,
    url: Option<String>,
    file: Option<PathBuf>,
) -> Option<DatabaseUrl> {
    let flag = "--database-url";
    let Secret { flag, text } = secret(problems, flag, url, file)
        .unwrap_or_else(|| Secret { flag: flag.to_owned(), text: DATABASE.to_owned() });
    text.parse().map_err(|why| problems.add(&flag, why)).ok()
}

/// Keys of page tokens, if there is a file with some.
fn page_keys(problems: &mut Problems, file: Option<PathBuf>) -> Option<PageKeys> {
    let Secret { flag, text } = secret(problems, "--page-token-key", None, file)?;
    PageKeys::of_lines(&text).map_err(|why| problems.add(&flag, why)).ok()
}

fn connections(raw: &str) -> Result<usize, String> {
    let range = CONNECTIONS_MIN..=CONNECTIONS_MAX;
    raw.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("is not a number between {CONNECTIONS_MIN} and {CONNECTIONS_MAX}"))
}

fn migrate_timeout(raw: &str) -> Result<Duration, &'static str> {
    let time = humantime::parse_duration(raw).ok().filter(|time| *time <= MIGRATE_TIMEOUT_MAX);
    time.ok_or("is not a time of 1h at most, such as 5m")
}

fn sweep_interval(raw: &str) -> Result<Duration, &'static str> {
    let range = Duration::from_millis(10)..=Duration::from_secs(60 * 60);
    let time = humantime::parse_duration(raw).ok().filter(|time| range.contains(time));
    time.ok_or("is not a time between 10ms and 1h")
}
