//! Flags and environment variables: the only place that reads the environment.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Flags, Parser, Subcommand};
use database::DatabaseUrl;
use uuid::Uuid;

use crate::{plan::Knowledge, rules::Rules, show::Asked, walk::Settings};

/// Holds the books of account-service and order-service against each other, while both are in use, and with --repair
/// brings them together again. One line of JSON; exit code 0: they agree, 1: they do not, 2: they cannot be read.
#[derive(Debug, Parser)]
#[command(name = "holdfast-verify", version)]
pub struct Args {
    /// Left out: the whole books are verified
    #[command(subcommand)]
    pub task: Option<Task>,
    /// The account service's database: postgres://user:password@host/name or sqlite://PATH. SELECT is enough
    #[arg(
        long,
        env = "ACCOUNT_DATABASE_URL",
        hide_env_values = true,
        global = true,
        value_name = "URL"
    )]
    account_db: Option<String>,
    /// The order service's database, likewise
    #[arg(
        long,
        env = "ORDER_DATABASE_URL",
        hide_env_values = true,
        global = true,
        value_name = "URL"
    )]
    order_db: Option<String>,
    /// Orders and reservations younger than this are not judged, by their database's clock
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    horizon: Duration,
    /// Rows of each book that are read at once, and so held in memory: 1 to 100000
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: u32,
    /// Wait between two of these ranges, to leave the databases to others
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// Time that one statement may take; the range is tried again a few times
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    range_timeout: Duration,
    /// Wait before what does not agree is looked at again; on standbys more than their lag
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    second_look: Duration,
    /// Time that an outbox row may wait
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    outbox_age_max: Duration,
    /// Count suspects as breaches
    #[arg(long)]
    strict: bool,
    /// Print what would bring the books together, a line for each action (docs/restore.md)
    #[arg(long)]
    pub repair: bool,
    /// Do it
    #[arg(long, requires_all = ["repair", "account_target", "order_target"])]
    pub apply: bool,
    /// The account service, for --apply: dns:///host:port or static:///a:1,b:2
    #[arg(long, env = "ACCOUNT_TARGET", value_name = "TARGET")]
    pub account_target: Option<String>,
    /// The order service, for --apply: it cancels orders, and confirms that it does not have those that money is given back for
    #[arg(long, env = "ORDER_TARGET", value_name = "TARGET")]
    pub order_target: Option<String>,
    /// Bearer token for both services, for --apply: rights ledger:settle, ledger:any and orders:any
    #[arg(long, env = "TOKEN_FILE", requires = "apply", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Leave money without an order alone while it is younger than this: its caller may ask again
    #[arg(long, requires = "repair", value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    wait_for_retries: Duration,
    /// No other program reserves money under UUIDs: give back what no order stands for
    #[arg(long, requires = "repair")]
    sole_caller: bool,
}

/// What to do instead of verifying everything.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Print all that both databases say about one order as a JSON object, and whether they agree
    Show {
        /// The account that pays
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
        account: i64,
        /// Which of its orders
        #[command(flatten)]
        named: Named,
    },
    /// Print the keys that wait for a decision, the oldest first, one JSON object per line; at most 1000
    Undecided {
        /// Leave younger keys out: they are being worked on
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
        older_than: Duration,
    },
}

/// One of the two names of an order.
#[derive(Debug, Flags)]
#[group(required = true, multiple = false)]
pub struct Named {
    /// The order's id
    #[arg(long, value_name = "UUID")]
    order: Option<Uuid>,
    /// The caller's idempotency key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Named {
    /// Which of the two was given.
    #[must_use]
    pub fn asked(&self) -> Asked {
        match (self.order, &self.key) {
            (Some(id), _) => Asked::Order(id),
            (None, key) => Asked::Key(key.clone().unwrap_or_default()),
        }
    }
}

impl Args {
    /// The account service's database and the order service's.
    ///
    /// # Errors
    /// When one is no address. It is not repeated: it may hold a password.
    pub fn databases(&self) -> Result<[DatabaseUrl; 2], String> {
        let parse = |flag: &str, text: &Option<String>| {
            let text = text.as_deref().ok_or_else(|| format!("{flag} is missing"))?;
            text.parse::<DatabaseUrl>().map_err(|why| format!("{flag} {why}"))
        };
        Ok([parse("--account-db", &self.account_db)?, parse("--order-db", &self.order_db)?])
    }

    /// How to read and to judge.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            horizon: self.horizon,
            rows: self.rows,
            pause: self.pause,
            range_timeout: self.range_timeout,
            second_look: self.second_look,
            rules: Rules { outbox_age_max: self.outbox_age_max, strict: self.strict },
        }
    }

    /// What the operator knows.
    #[must_use]
    pub fn knowledge(&self) -> Knowledge {
        Knowledge { wait_for_retries: self.wait_for_retries, sole_caller: self.sole_caller }
    }
}
