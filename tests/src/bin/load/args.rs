//! The flags, and the profiles that set them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ArgGroup, Parser, ValueEnum};
use tests::load::{Kind, Pace};

/// Puts load on the pair and tells how it fared.
///
/// Without --target it starts a pair of its own, and reads both databases afterwards: a run that
/// breaks an invariant has no figures.
#[derive(Clone, Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Args {
    /// A run that is set up already; flags given beside it are overruled
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    #[command(flatten)]
    pub(crate) requests: Requests,
    /// Seconds that count
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Seconds before them that do not
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// The database of the pair that is started
    #[arg(long, value_enum, default_value_t = Database::Postgres)]
    pub(crate) spawn: Database,
    /// Pods of each service that are started
    #[arg(long, default_value_t = 1)]
    pub(crate) pods: usize,
    /// Drive this order-service instead (host:port, several with commas); needs --account-target
    #[arg(long, requires = "account_target", value_delimiter = ',')]
    pub(crate) target: Vec<String>,
    /// The account-service of --target
    #[arg(long, requires = "target", value_delimiter = ',')]
    pub(crate) account_target: Vec<String>,
    /// A bearer token for services that ask who calls: rights ledger:admin, ledger:settle, orders:any, catalog:write
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A flag for order-service, as in --order-flag=--lease=30s
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) order_flag: Vec<String>,
    /// A flag for account-service
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) account_flag: Vec<String>,
    /// Write an HTML report
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// What is sent.
#[derive(ArgGroup, Clone, Debug)]
pub(crate) struct Requests {
    /// Which call
    #[arg(long, value_enum, default_value_t = Call::PlaceOrder)]
    pub(crate) call: Call,
    /// Open loop: requests a second, answered or not
    #[arg(long, default_value_t = 1000.0, conflicts_with = "in_flight")]
    pub(crate) rate: f64,
    /// Closed loop: requests under way at any time
    #[arg(long)]
    pub(crate) in_flight: Option<usize>,
    /// Connections
    #[arg(long, default_value_t = 16)]
    pub(crate) clients: usize,
    /// Accounts that pay
    #[arg(long, default_value_t = 10_000)]
    pub(crate) accounts: u32,
    /// Skew between accounts; 0 is uniform
    #[arg(long, default_value_t = 0.0)]
    pub(crate) zipf: f64,
    /// One account pays for everything
    #[arg(long)]
    pub(crate) hot_account: bool,
    /// Lines of an order; 0: it names an amount
    #[arg(long, default_value_t = 0)]
    pub(crate) lines: u32,
    /// Products that lines choose from
    #[arg(long, default_value_t = 1_000)]
    pub(crate) products: u32,
    /// Pieces of each product
    #[arg(long, default_value_t = 1_000_000_000)]
    pub(crate) stock: i64,
    /// The share of requests that repeat an earlier one, as in 5%
    #[arg(long, default_value = "0%", value_parser = percent)]
    pub(crate) duplicates: f64,
    /// Refuse duplicates instead of replaying the first answer
    #[arg(long)]
    pub(crate) reject: bool,
    /// Stop after so many requests, if that is earlier
    #[arg(long)]
    pub(crate) requests: Option<u64>,
    /// Each call's deadline
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// Where all chance comes from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    PlaceOrder,
    Reserve,
}

/// Where the pair that is started keeps its books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Database {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Postgres => Kind::Postgres,
            Self::Sqlite => Kind::Sqlite,
        }
    }
}

/// Runs that are set up already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// 3,000 orders a second from 1,000 clients for a minute (document A)
    Seed,
    /// As many as there can be with 256 in flight
    Max,
    /// One account, Reserve alone, 256 in flight
    HotAccount,
    /// 50,000 buyers, 1,000 pieces
    FlashSale,
    /// 10, 100 and 1,000 requests with one key (document B)
    Duplicates,
}

impl Args {
    /// The flags with the profile's in their place.
    pub(crate) fn with_profile(mut self) -> Self {
        let requests = &mut self.requests;
        match self.profile {
            None | Some(Profile::Duplicates) => {}
            Some(Profile::Seed) => {
                (requests.rate, requests.in_flight, requests.clients) = (3_000.0, None, 1_000);
                self.duration = Duration::from_secs(60);
            }
            Some(Profile::Max) => requests.in_flight = Some(256),
            Some(Profile::HotAccount) => {
                (requests.in_flight, requests.hot_account) = (Some(256), true);
                requests.call = Call::Reserve;
            }
            Some(Profile::FlashSale) => {
                (requests.in_flight, requests.lines, requests.products) = (Some(256), 1, 1);
                (requests.stock, requests.requests) = (1_000, Some(50_000));
                self.warm_up = Duration::ZERO;
                self.duration = Duration::from_secs(300);
            }
        }
        self
    }
}

impl Requests {
    pub(crate) fn pace(&self) -> Pace {
        match self.in_flight {
            Some(in_flight) => Pace::Closed { in_flight },
            None => Pace::Open { per_second: self.rate },
        }
    }
}

/// `5%` or `0.05`.
fn percent(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|error| error.to_string())? / unit;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("is not from 0% to 100%".to_owned()) }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn shares_are_read_as_percent_or_as_they_are() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0.5"), Ok(0.5));
        assert!(percent("150%").is_err());
        assert!(percent("much").is_err());
    }

    #[test]
    fn the_flags_are_consistent_and_a_profile_has_the_last_word() {
        let args = Args::try_parse_from(["load", "--profile", "seed", "--clients", "3"]).unwrap();
        let args = args.with_profile();
        assert_eq!(args.requests.pace(), Pace::Open { per_second: 3_000.0 });
        assert_eq!(args.requests.clients, 1_000);
        assert!(Args::try_parse_from(["load", "--rate", "1", "--in-flight", "1"]).is_err());
    }
}
