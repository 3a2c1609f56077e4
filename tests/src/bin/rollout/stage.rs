//! What a run stands on: PostgreSQL, both services as pods, and clients in front of them.

use std::error::Error;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use client::Channel;
use holdfast_verify::Settings;
use tests::HarnessError;
use tests::cluster::{Binaries, Databases, Service};
use tests::load::{Opening, open_accounts, put_products};
use tests::pods::{Cause, Delay, Departure, Manifests, Namespace, Setup};
use tests::postgres::{Postgres, create_database, database_url, drop_database};

use crate::args::Args;

/// Accounts that pay, and products that are bought, a piece an order.
pub(crate) const ACCOUNTS: u32 = 1_000;
pub(crate) const PRODUCTS: u32 = 200;
/// Enough for any run.
const BALANCE: u64 = 1_000_000_000;
const STOCK: i64 = 1_000_000_000;

/// How late DNS and kube-proxy learn of a change. Measured in clusters: 0.2 s and more.
pub(crate) const DELAY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];

/// The bound on pods' coming, and on their leaving: the grace period of both, and some.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A running stage.
pub(crate) struct Stage {
    // Field order is drop order: pods end before their database does.
    pub(crate) namespace: Namespace,
    /// The numbers that everything runs with.
    pub(crate) manifests: Manifests,
    pub(crate) postgres: Option<Postgres>,
    /// What rolling updates bring.
    pub(crate) binaries: Binaries,
    databases: Databases,
    /// To be dropped in the end: the server's address, and names.
    made: Option<(String, [String; 2])>,
}

/// Ours, or what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Holdfast,
    Control,
}

impl Stage {
    pub(crate) async fn start(args: &Args, mode: Mode, seed: u64) -> Result<Self, Box<dyn Error>> {
        let binaries = Binaries::build()?;
        let first = match (&args.previous_binaries, mode) {
            (Some(directory), Mode::Holdfast) => Binaries::in_directory(directory)?,
            (Some(_), Mode::Control) | (None, _) => binaries.clone(),
        };
        let (postgres, databases, made) = databases(args.database_url.as_deref()).await?;
        let manifests = manifests(mode)?;
        let setup = Setup {
            binaries: first,
            databases: databases.clone(),
            manifests: manifests.clone(),
            delay: Delay { range: DELAY[0]..=DELAY[1], seed },
            dns_ttl_s: args.dns_ttl_s,
        };
        let namespace = Namespace::start(setup).await?;
        let stage = Self { namespace, manifests, postgres, binaries, databases, made };
        stage.prepare(args).await?;
        Ok(stage)
    }

    async fn prepare(&self, args: &Args) -> Result<(), Box<dyn Error>> {
        let status = self.namespace.account.status();
        let pod = status.ready().next().ok_or("no account pod is ready")?;
        let accounts = Channel::builder(format!("http://{}", pod.grpc)).build()?;
        open(&accounts, args.accounts()).await?;
        let orders = Channel::builder(self.namespace.cluster_ip()).build()?;
        Ok(put_products(&orders, PRODUCTS, STOCK).await?)
    }

    /// Lets all pods leave, order-service first, and reads both databases. The logs stay if there
    /// is something to look for in them.
    pub(crate) async fn finish(mut self) -> Result<Reckoning, Box<dyn Error>> {
        for service in [Service::Order, Service::Account] {
            self.namespace.deployment(service).scale(0).await;
            self.namespace.until_nobody_leaves(PATIENCE).await?;
        }
        let departures = self.namespace.departures();
        let bad = departures.iter().filter(|departure| is_out_of_order(departure));
        let out_of_order: Vec<String> = bad.map(|departure| format!("{departure:?}")).collect();
        let breach = self.verify().await.err().map(|why| why.to_string());
        if breach.is_some() || !out_of_order.is_empty() {
            self.namespace.keep_logs();
        }
        if let Some((server, names)) = &self.made {
            for name in names {
                drop_database(server, name).await?;
            }
        }
        Ok(Reckoning { out_of_order, breach })
    }

    /// Each service's own check, and what needs both databases.
    async fn verify(&self) -> Result<(), Box<dyn Error>> {
        let Databases { account, order } = &self.databases;
        self.binaries.verify(Service::Account, account)?;
        self.binaries.verify(Service::Order, order)?;
        let report =
            holdfast_verify::verify(&account.parse()?, &order.parse()?, Settings::at_rest())
                .await?;
        if report.ok { Ok(()) } else { Err(format!("{:#?}", report.breaches).into()) }
    }

    /// The age at which clients of order-service are dealt out again.
    pub(crate) fn connection_age(&self) -> Duration {
        let age = &self.manifests.order.environment["CONNECTION_AGE"];
        humantime::parse_duration(age).expect("the services run with it")
    }

    pub(crate) fn logs(&self) -> &Path {
        self.namespace.directory()
    }
}

/// Opens the accounts.
pub(crate) async fn open(
    channel: &Channel,
    accounts: RangeInclusive<i64>,
) -> Result<(), HarnessError> {
    open_accounts(channel, Opening { accounts, balance: BALANCE }).await
}

/// What is found when everybody has left.
#[derive(Debug)]
pub(crate) struct Reckoning {
    /// Departures that were not as they should be, in words.
    pub(crate) out_of_order: Vec<String>,
    /// Which invariant is broken, and by which rows.
    pub(crate) breach: Option<String>,
}

impl Reckoning {
    pub(crate) fn is_clean(&self) -> bool {
        self.out_of_order.is_empty() && self.breach.is_none()
    }
}

/// An exit code that says calls were cut off, a pod that had to be killed, a container that ended
/// by itself or did not answer its probes.
fn is_out_of_order(departure: &Departure) -> bool {
    match departure.cause {
        Cause::Deleted => departure.exit_code != Some(0),
        Cause::Killed => false,
        Cause::Crashed | Cause::Unhealthy => true,
    }
}

/// The manifests as they are; the control's pods leave as most do.
fn manifests(mode: Mode) -> Result<Manifests, Box<dyn Error>> {
    let mut manifests = Manifests::read()?;
    if mode == Mode::Control {
        manifests.set("LAME_DUCK", "0s");
        manifests.account.pre_stop = Duration::ZERO;
        manifests.order.pre_stop = Duration::ZERO;
    }
    Ok(manifests)
}

type Made = (Option<Postgres>, Databases, Option<(String, [String; 2])>);

async fn databases(server: Option<&str>) -> Result<Made, Box<dyn Error>> {
    let Some(server) = server else {
        let postgres = Postgres::start().await?;
        let account = postgres.create_database("account").await?;
        let order = postgres.create_database("orders").await?;
        return Ok((Some(postgres), Databases { account, order }, None));
    };
    let process = std::process::id();
    let names = ["account", "order"].map(|name| format!("holdfast_rollout_{process}_{name}"));
    for name in &names {
        drop_database(server, name).await?;
        create_database(server, name).await?;
    }
    let [account, order] = names.each_ref().map(|name| database_url(server, name));
    Ok((None, Databases { account, order }, Some((server.to_owned(), names))))
}
