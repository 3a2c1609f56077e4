//! The flags.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::stage::ACCOUNTS;

/// Lets pods come and go while clients place orders, and tells whether anybody noticed.
///
/// Starts both services on PostgreSQL with the numbers of k8s/base. Exits with 1 when a request
/// failed, an order was placed twice or lost, a pod did not leave in order, an invariant of the
/// two databases is broken, or one pod got more than 1.2 times its share of the calls a minute
/// after pods came or went.
#[derive(Clone, Debug, Parser)]
#[command(name = "rollout")]
pub(crate) struct Args {
    /// How long the plan runs; the last event is finished
    #[arg(long, default_value_t = 15.0)]
    pub(crate) minutes: f64,
    /// Orders a second, whatever happens
    #[arg(long, default_value_t = 300.0)]
    pub(crate) rate: f64,
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 1_000)]
    pub(crate) clients: usize,
    /// Decides the victims, the delays and the requests; printed, and drawn if it is not given
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A PostgreSQL server to make two databases on; without it a private one is started, which
    /// can then be restarted as an event
    #[arg(long, value_name = "URL", conflicts_with = "target")]
    pub(crate) database_url: Option<String>,
    /// Begin with the programs in this directory, and let a rolling update to the newly built ones
    /// be the first event
    #[arg(long, value_name = "DIR", conflicts_with = "target")]
    pub(crate) previous_binaries: Option<PathBuf>,
    /// For how many seconds an answer of the cluster's DNS may be kept
    #[arg(long, default_value_t = 5)]
    pub(crate) dns_ttl_s: u32,
    /// How long a client keeps asking for one order; longer than the lease (60 s) of a key whose
    /// worker was killed
    #[arg(long, default_value = "120s", value_parser = humantime::parse_duration)]
    pub(crate) deadline: Duration,
    /// Afterwards show what the same events do without all this: tonic's plain channel, no preStop,
    /// no lame duck. Its failures are expected; that it has none is an error
    #[arg(long, conflicts_with = "target")]
    pub(crate) control: bool,
    /// Send to this order-service (host:port) instead; its pods and databases are somebody else's
    #[arg(long, value_name = "HOST:PORT", requires = "account_target")]
    pub(crate) target: Option<String>,
    /// The account-service beside --target, to open the accounts at
    #[arg(long, value_name = "HOST:PORT", requires = "target")]
    pub(crate) account_target: Option<String>,
    /// The first of the 1,000 accounts that pay: with --target, choose a range that nothing else uses
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..=i64::MAX - 1_000))]
    pub(crate) first_account: i64,
    /// With --target: roll and delete the pods in this namespace by kubectl, which has to be in PATH
    /// and logged in; without it events are left to whoever owns the pods
    #[arg(long, value_name = "NAMESPACE", requires = "target")]
    pub(crate) kubectl: Option<String>,
    /// Write an HTML report
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

impl Args {
    /// The accounts that pay.
    pub(crate) fn accounts(&self) -> RangeInclusive<i64> {
        self.first_account..=self.first_account + i64::from(ACCOUNTS) - 1
    }

    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.minutes.clamp(0.0, 7.0 * 24.0 * 60.0) * 60.0)
    }
}

#[cfg(test)]
mod unit {
    use std::path::Path;

    use super::*;

    /// What the load Job says, so that a run without flags is the one in a cluster.
    #[test]
    fn the_defaults_are_those_of_the_load_job() {
        let job = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/load/job.yaml");
        let job = std::fs::read_to_string(job).unwrap();
        let flags = job.lines().filter_map(|line| line.trim().strip_prefix("- --"));
        let flags: Vec<_> = flags.map(|flag| format!("--{flag}")).collect();
        let said = Args::try_parse_from([vec!["rollout".to_owned()], flags].concat()).unwrap();
        let unsaid = Args::try_parse_from(["rollout"]).unwrap();
        let numbers = |args: &Args| (args.minutes, args.rate, args.clients, args.first_account);
        assert_eq!(numbers(&said), numbers(&unsaid));
        assert!(said.target.is_some());
    }

    #[test]
    fn the_flags_are_consistent() {
        let of = |flags: &[&str]| Args::try_parse_from([&["rollout"], flags].concat());
        assert_eq!(of(&["--minutes", "0.5"]).unwrap().time(), Duration::from_secs(30));
        assert!(of(&["--target", "orders:50052"]).is_err());
        assert!(of(&["--target", "o:1", "--account-target", "a:1", "--control"]).is_err());
    }
}
