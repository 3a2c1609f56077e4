//! Flags and environment variables: the only place that reads the environment.
//!
//! clap collects text, [`Args::validate`] judges all of it at once. Passwords are never printed.

mod tls;

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args as Flags, Parser, Subcommand};
use client::{BuildError, Builder, Channel};
use database::DatabaseUrl;
use proto::{Currency, PageKeys};
use server::{
    Problems, ServeConfig,
    args::{LogArgs, Secret, ServeArgs, secret},
    logging::LogConfig,
};

use crate::{
    accounts::SERVICE_CONFIG,
    guard::{RedisAddress, RedisTls},
    housekeeping::Rounds,
    layout,
    placement::OnDuplicate,
    settlements::{self, SettlementsArgs},
    storage::{KeyLifetime, Layout, Leases},
};

pub use tls::AccountTls;
use tls::{AccountTlsArgs, RedisTlsArgs};

/// Orders, payments and the catalogue: each order is placed once.
#[derive(Debug, Parser)]
#[command(name = "order-service", version)]
pub struct Args {
    #[command(subcommand)]
    task: Option<TaskArgs>,
    /// postgres://user:password@host/name, or sqlite://PATH (made if it is missing) [default: sqlite://data/order.db]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", global = true)]
    database_url: Option<String>,
    /// A file that holds this URL, so that no password is on a command line or in the environment
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    database_url_file: Option<PathBuf>,
    /// `migrate` waits this long for a database that is not there yet
    #[arg(long, env = "MIGRATE_TIMEOUT", value_name = "TIME", default_value = "5m", global = true)]
    migrate_timeout: String,
    /// Connections to the database: one for housekeeping, the others for changes and for reads; heartbeats have one besides
    #[arg(long, env = "DATABASE_CONNECTIONS", value_name = "N", default_value = "6")]
    database_connections: String,
    /// The account service: dns:///host:port or static:///a:1,b:2
    #[arg(
        long,
        env = "ACCOUNT_TARGET",
        value_name = "TARGET",
        default_value = "static:///127.0.0.1:50051"
    )]
    account_target: String,
    /// Bearer token for the account service: a file that is read again and again
    #[arg(long, env = "ACCOUNT_TOKEN_FILE", value_name = "FILE")]
    account_token_file: Option<PathBuf>,
    /// Time a call to the account service may take, with all its attempts; less than the lease
    #[arg(long, env = "ACCOUNT_TIMEOUT", value_name = "TIME", default_value = "5s")]
    account_timeout: String,
    /// Longest wait between two tries to connect to one of its pods, after an outage
    #[arg(long, env = "ACCOUNT_BACKOFF_MAX", value_name = "TIME", default_value = "5s")]
    account_backoff_max: String,
    #[command(flatten)]
    account_tls: AccountTlsArgs,
    /// Redis, as a first look before the database: redis://host:6379, or rediss:// for TLS. Left out: none
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<String>,
    #[command(flatten)]
    redis_tls: RedisTlsArgs,
    /// A file that holds this URL
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE")]
    redis_url_file: Option<PathBuf>,
    /// Default for requests that leave on_duplicate unset: replay or reject
    #[arg(long, env = "ON_DUPLICATE", value_name = "MODE", default_value = "replay")]
    on_duplicate: String,
    /// Currency of prices and orders that name none, and of those from before they could
    #[arg(
        long,
        env = "DEFAULT_CURRENCY",
        value_name = "ISO 4217",
        default_value = "USD",
        global = true
    )]
    default_currency: String,
    /// How long a key's owner may be silent before another pod may take the key over
    #[arg(long, env = "LEASE", value_name = "TIME", default_value = "60s")]
    lease: String,
    /// How long an outbox row is left to the pod that wrote it before any pod may settle it
    #[arg(long, env = "SETTLE_LEASE", value_name = "TIME", default_value = "15s")]
    settle_lease: String,
    /// Interval of the search for keys that were left behind
    #[arg(long, env = "COMPLETE_INTERVAL", value_name = "TIME", default_value = "5s")]
    complete_interval: String,
    /// How long a key may stay undecided before it fails and its hold is released
    #[arg(long, env = "GIVE_UP_AFTER", value_name = "TIME", default_value = "15m")]
    give_up_after: String,
    /// Least time an idempotency key is kept after its first request, in whole days; a refusal stands as long
    #[arg(long, env = "KEY_LIFETIME", value_name = "TIME", default_value = "2d")]
    key_lifetime: String,
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

#[derive(Debug, Subcommand)]
enum TaskArgs {
    /// Bring the database's schema up to date, and exit
    Migrate,
    /// Check the invariants, print a JSON report, and exit with 1 on any breach
    Verify(VerifyArgs),
    /// List, retry or resolve what the account service must still be told
    Settlements(SettlementsArgs),
    /// Accept that a restore or a fail-over lost commits, and let the service work on this database again
    Resume(ResumeArgs),
    /// Show where the keys of new orders go, or move them, while the service runs
    Layout(LayoutArgs),
}

#[derive(Debug, Flags)]
struct VerifyArgs {
    /// Age from which an outbox row is a breach: the account service should have been told long before
    #[arg(long, env = "OUTBOX_AGE_MAX", value_name = "TIME", default_value = "1h")]
    outbox_age_max: String,
}

#[derive(Debug, Flags)]
struct LayoutArgs {
    /// Where to move them: orders (the rows of their orders, once all pods are of this version) or keys (a table of their
    /// own, before pods of the version before start). Left out: only show
    #[arg(long, value_name = "LAYOUT")]
    to: Option<String>,
    /// How long moving back to `keys` waits until everything is decided and told
    #[arg(long, value_name = "TIME", default_value = "20m")]
    limit: String,
}

#[derive(Debug, Flags)]
struct ResumeArgs {
    /// Also forget which ledger the orders are paid from: the next account service that answers is taken
    #[arg(long)]
    forget_ledger: bool,
    /// Also give the database another identity: it is a copy, and the original goes on
    #[arg(long)]
    copy: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Bring the schema up to date.
    Migrate,
    /// Check the invariants.
    Verify {
        /// Age from which an outbox row is a breach.
        outbox_age_max: Duration,
    },
    /// Look after the outbox by hand.
    Settlements(settlements::Command),
    /// Show or change where claims go.
    Layout(layout::Command),
    /// Accept that commits are gone.
    Resume {
        /// Also forget which ledger the orders are paid from.
        forget_ledger: bool,
        /// Also give the database another identity.
        is_copy: bool,
    },
}

/// Everything that was asked for, valid.
#[derive(Debug)]
pub struct Config {
    /// `None`: serve.
    pub task: Option<Task>,
    /// Where orders are.
    pub database: DatabaseUrl,
    /// How long `migrate` waits for the database.
    pub migrate_timeout: Duration,
    /// Connections in all; at least 3.
    pub connections: usize,
    /// Where the account service is. Valid: a channel can be built from it.
    pub account_target: String,
    /// How it is spoken to over TLS. `None`: in plaintext.
    pub account_tls: Option<AccountTls>,
    /// What says to it who calls; `None`: a certificate, or nothing.
    pub account_token_file: Option<PathBuf>,
    /// How long a call to it may take.
    pub account_timeout: Duration,
    /// How far apart tries to connect to one of its pods are at most.
    pub account_backoff_max: Duration,
    /// Where to look first; `None`: nowhere.
    pub redis: Option<RedisAddress>,
    /// The credentials for it, if it is spoken to over TLS.
    pub redis_tls: Option<RedisTls>,
    /// What a duplicate gets that does not say.
    pub on_duplicate: OnDuplicate,
    /// Of prices and orders that name none.
    pub currency: Currency,
    /// How long leases last.
    pub leases: Leases,
    /// How often housekeeping looks.
    pub rounds: Rounds,
    /// What page tokens are made with; `None`: what is derived from the database's id.
    pub page_keys: Option<PageKeys>,
    /// How to serve.
    pub serve: ServeConfig,
    /// What to log.
    pub log: LogConfig,
    /// What goes wrong on purpose; nothing, in a program without fail points.
    pub failpoints: failpoint::Plan,
}

const CONNECTIONS: RangeInclusive<usize> = 3..=256;

/// Any time that is asked for.
const TIME: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);

/// How often due outbox rows are looked for; they were leased before, so nobody waits for this.
const NOTICES: Duration = Duration::from_secs(1);

/// How often processes that fell silent are looked for: a look at a row per process.
const DEATHS: Duration = Duration::from_millis(500);

/// How often what stands in the outbox is counted.
const BACKLOG: Duration = Duration::from_secs(5);

/// How often the key table is looked after.
const PARTITIONS: Duration = Duration::from_secs(60);

const DATABASE: &str = "sqlite://data/order.db";

const PORT: u16 = 50052;
const ADMIN_PORT: u16 = 9082;

impl Args {
    /// Judges every value.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(self) -> Result<Config, Problems> {
        let mut problems = Problems::new();
        let task = self.task.map(|task| task.validate(&mut problems));
        let serve = self.serve.validate(ServeConfig::on_ports(PORT, ADMIN_PORT), &mut problems);
        let log = self.log.validate(&mut problems);
        let page_keys = page_keys(&mut problems, self.page_token_key_file);
        let database = database(&mut problems, self.database_url, self.database_url_file);
        let migrate_timeout = problems.parse("--migrate-timeout", &self.migrate_timeout, time);
        let redis = secret(&mut problems, "--redis-url", self.redis_url, self.redis_url_file);
        let redis: Option<RedisAddress> = redis.and_then(|Secret { flag, text }| {
            text.parse().map_err(|why| problems.add(&flag, why)).ok()
        });
        let every = serve.tls_reload_interval;
        let is_tls = redis.as_ref().is_some_and(RedisAddress::is_tls);
        let redis_tls = self.redis_tls.validate(is_tls, every, &mut problems);
        let account_tls = self.account_tls.validate(every, &mut problems);
        let connections =
            problems.parse("--database-connections", &self.database_connections, connections);
        let target = problems.parse("--account-target", &self.account_target, |raw| {
            target(raw, account_tls.is_some())
        });
        let on_duplicate = problems.parse("--on-duplicate", &self.on_duplicate, on_duplicate);
        let currency = problems.parse("--default-currency", &self.default_currency, str::parse);
        let account_timeout = problems.parse("--account-timeout", &self.account_timeout, time);
        let account_backoff_max =
            problems.parse("--account-backoff-max", &self.account_backoff_max, time);
        let lease = problems.parse("--lease", &self.lease, time);
        let notice = problems.parse("--settle-lease", &self.settle_lease, time);
        let keys = problems.parse("--complete-interval", &self.complete_interval, time);
        let give_up = problems.parse("--give-up-after", &self.give_up_after, time);
        let lifetime = problems.parse("--key-lifetime", &self.key_lifetime, key_lifetime);
        let is_readable =
            account_tls.is_none() && target.as_deref().is_some_and(is_beyond_this_machine);
        if self.account_token_file.is_some() && is_readable {
            let why = "needs --account-tls-ca, or a target on this machine: whoever reads the connection could use the token";
            problems.add("--account-token-file", why);
        }
        if account_timeout.zip(lease).is_some_and(|(timeout, lease)| timeout >= lease) {
            problems.add("--account-timeout", "must be less than --lease");
        }
        if give_up.zip(lifetime).is_some_and(|(give_up, life)| give_up * 2 > life.time()) {
            problems.add("--give-up-after", "must be at most half of --key-lifetime");
        }
        if lease.zip(give_up).is_some_and(|(lease, give_up)| give_up <= lease) {
            problems.add("--give-up-after", "must be more than --lease");
        }
        problems.none_or(())?;
        let config = || {
            Some(Config {
                task: task.map_or(Some(None), |task| task.map(Some))?,
                database: database?,
                migrate_timeout: migrate_timeout?,
                connections: connections?,
                account_target: target?,
                account_tls,
                account_token_file: self.account_token_file,
                account_timeout: account_timeout?,
                account_backoff_max: account_backoff_max?,
                redis,
                redis_tls,
                on_duplicate: on_duplicate?,
                currency: currency?,
                leases: Leases {
                    key: lease?,
                    notice: notice?,
                    give_up: give_up?,
                    key_lifetime: lifetime?,
                },
                rounds: Rounds {
                    keys: keys?,
                    deaths: DEATHS,
                    notices: NOTICES.min(notice?),
                    backlog: BACKLOG,
                    partitions: PARTITIONS,
                },
                page_keys,
                serve,
                log,
                failpoints: self.failpoints.plan(),
            })
        };
        Ok(config().expect("a value is missing only when it was a problem"))
    }
}

impl TaskArgs {
    /// `None`: a value is a problem.
    fn validate(self, problems: &mut Problems) -> Option<Task> {
        match self {
            Self::Migrate => Some(Task::Migrate),
            Self::Verify(VerifyArgs { outbox_age_max }) => {
                let outbox_age_max = problems.parse("--outbox-age-max", &outbox_age_max, time)?;
                Some(Task::Verify { outbox_age_max })
            }
            Self::Settlements(args) => args.validate(problems).map(Task::Settlements),
            Self::Layout(LayoutArgs { to, limit }) => {
                let limit = problems.parse("--limit", &limit, time);
                let goal = match to.as_deref() {
                    None => return Some(Task::Layout(layout::Command::Show)),
                    Some("keys") => Layout::Keys,
                    Some("orders") => Layout::Orders,
                    Some(other) => {
                        problems.add("--to", format!("{other:?} is neither keys nor orders"));
                        return None;
                    }
                };
                Some(Task::Layout(layout::Command::Move { goal, limit: limit? }))
            }
            Self::Resume(ResumeArgs { forget_ledger, copy }) => {
                Some(Task::Resume { forget_ledger, is_copy: copy })
            }
        }
    }
}

/// The first of the waits between tries to connect, and how they grow (grpc/grpc `doc/connection-backoff.md`).
const BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const BACKOFF_MULTIPLIER: f64 = 1.6;

/// The channel to the account service: keepalive as document A has it (A3), which account-service allows.
pub(crate) fn account_channel(target: &str, backoff_max: Duration) -> Builder {
    Channel::builder(target)
        .service_config(SERVICE_CONFIG)
        .keepalive(Duration::from_secs(10), Duration::from_secs(5))
        .keepalive_without_calls(true)
        .connection_backoff(BACKOFF_INITIAL, backoff_max, BACKOFF_MULTIPLIER)
        .wait_for_ready(true)
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
    let number = raw.parse().ok().filter(|number| CONNECTIONS.contains(number));
    let (least, most) = CONNECTIONS.into_inner();
    number.ok_or_else(|| format!("is not a number between {least} and {most}"))
}

fn time(raw: &str) -> Result<Duration, &'static str> {
    let time = humantime::parse_duration(raw).ok().filter(|time| TIME.contains(time));
    time.ok_or("is not a time between 10ms and 24h, such as 5s")
}

fn key_lifetime(raw: &str) -> Result<KeyLifetime, &'static str> {
    let time = humantime::parse_duration(raw).ok().and_then(KeyLifetime::of);
    time.ok_or("is not a number of whole days between 1d and 30d")
}

fn on_duplicate(raw: &str) -> Result<OnDuplicate, &'static str> {
    match raw {
        "replay" => Ok(OnDuplicate::Replay),
        "reject" => Ok(OnDuplicate::Reject),
        _ => Err("is neither replay nor reject"),
    }
}

/// Whether what is sent there leaves this machine.
fn is_beyond_this_machine(target: &str) -> bool {
    client::is_this_machine(target).is_ok_and(|is_here| !is_here)
}

/// What makes the channel speak TLS is --account-tls-ca; a scheme must not say otherwise.
fn target(raw: &str, is_tls: bool) -> Result<String, String> {
    match account_channel(raw, BACKOFF_INITIAL).check() {
        Err(BuildError::TlsMissing) if is_tls => Ok(raw.to_owned()),
        Err(BuildError::TlsMissing) => {
            Err("names https: TLS is spoken when --account-tls-ca is set, and it is not".into())
        }
        Ok(()) if is_tls && raw.starts_with("http:") => {
            Err("names http, and --account-tls-ca asks for TLS: use dns:///host:port".into())
        }
        Ok(()) => Ok(raw.to_owned()),
        Err(why) => Err(why.to_string()),
    }
}
