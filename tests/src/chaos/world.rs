//! The pair under test, and everything that can go wrong with it.
//!
//! ```text
//! clients ─→ 2 order pods ─→ proxy ─→ PostgreSQL ←─ 2 account pods
//!                 │  └────→ Redis                     ↑
//!                 └───────→ a proxy for each ─────────┘
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use database::DatabaseUrl;
use failpoint::Safeguard;
use holdfast_verify::Settings;
use proto::Money;
use proto::account::v1::OpenAccountRequest;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::PutProductRequest;
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::books::Books;
use super::callers::{ACCOUNTS, PLENTY, POOR, SCARCE};
use super::calls::Pods;
use super::place::Place;
use super::schedule::Fault;
use super::sometimes::Sometimes;
use super::state::Opening;
use crate::HarnessError;
use crate::backup::Backup;
use crate::cluster::{Binaries, Cluster, Databases, Plan, Service, connect};
use crate::postgres::Postgres;
use crate::proxy::{Proxy, Weather};
use crate::redis::Redis;

/// Short, so that a run sees takeovers, zombies and keys that are given up.
const ORDER_FLAGS: [&str; 10] = [
    "--lease",
    "2s",
    "--account-timeout",
    "800ms",
    "--settle-lease",
    "1s",
    "--complete-interval",
    "200ms",
    "--give-up-after",
    "5s",
];

const SLOW: Duration = Duration::from_millis(60);
const SLOW_DATABASE: Duration = Duration::from_millis(5);

/// More than one fault cuts.
const COMMITS: u32 = 12;

/// After the last fault: until every key is decided and every outbox row told. Longer than the give-up time and the
/// longest lease of a row together.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// What was claimed has its money held after this, and only the books are waited for.
const RESERVING: Duration = Duration::from_millis(100);

/// A pod that is not frozen decides what it began within this, even on a busy machine. Less than a lease: what a frozen
/// one has is still its own then.
const DECIDING: Duration = Duration::from_secs(1);

/// How often a pod is frozen, if need be, until it is so at the right moment; each takes two seconds at most.
const FREEZES: usize = 10;

/// How long the account service may take to hear of releases, once it can be reached.
const RELEASING: Duration = Duration::from_secs(3);

/// What clocks are off by, one after the other: longer than all leases and waits of a run.
const SKEWS: [&str; 2] = ["-1h", "+7h"];

/// A frozen pod is not waited for.
const GLANCE: Duration = Duration::from_millis(200);

/// The pair.
#[derive(Debug)]
pub(super) struct World {
    // Field order is drop order: pods end before what they stand on.
    pub(super) orders: Cluster,
    pub(super) accounts: Cluster,
    account_proxies: Vec<Proxy>,
    database_proxy: Option<Proxy>,
    redis: Redis,
    postgres: Option<Postgres>,
    pub(super) databases: Databases,
    /// Which way the next clock goes wrong.
    skewed: bool,
    /// Refused keys that were forgotten, and from when to when that may have been.
    pub(super) forgotten: Vec<((Instant, Instant), (i64, String))>,
    /// The copy of the orders, and since when it does not have all of them.
    pub(super) copy: Option<(Instant, Backup)>,
    /// What the checker reads.
    pub(super) books: Books,
    _directory: TempDir,
}

impl World {
    /// Starts everything, without a safeguard if one is named.
    ///
    /// # Errors
    /// When something does not start.
    pub(super) async fn start(
        place: &Place,
        without: Option<Safeguard>,
    ) -> Result<Self, HarnessError> {
        let directory = TempDir::with_prefix("holdfast-chaos-")
            .map_err(HarnessError::io("make a directory for the books"))?;
        let (postgres, databases) = place.databases(&directory).await?;
        let binaries = match without {
            Some(_) => Binaries::build_with_fail_points()?,
            None => Binaries::build()?,
        };
        let mutant: Vec<String> = without
            .into_iter()
            .flat_map(|safeguard| ["--without".to_owned(), safeguard.to_string()])
            .collect();
        let plan = Plan {
            order_pods: 0,
            databases: Some(databases.clone()),
            account_flags: mutant.clone(),
            ..Plan::default()
        };
        let accounts = Cluster::start(binaries.clone(), plan).await?;
        let mut account_proxies = Vec::new();
        for pod in &accounts.account {
            account_proxies.push(Proxy::start(pod.address()).await?);
        }
        let redis = Redis::start().await?;
        let (database_proxy, through) = match &postgres {
            Some(server) => {
                let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port()))).await?;
                let port = |port| format!(":{port}/");
                let order =
                    databases.order.replace(&port(server.port()), &port(proxy.address().port()));
                (Some(proxy), Databases { order, ..databases.clone() })
            }
            None => (None, databases.clone()),
        };
        let targets: Vec<_> = account_proxies.iter().map(|p| p.address().to_string()).collect();
        let mut order_flags: Vec<String> = ORDER_FLAGS.map(String::from).into();
        order_flags.extend(["--redis-url".to_owned(), redis.url()]);
        order_flags
            .extend(["--account-target".to_owned(), format!("static:///{}", targets.join(","))]);
        order_flags.extend(mutant);
        let plan =
            Plan { account_pods: 0, databases: Some(through), order_flags, ..Plan::default() };
        let orders = Cluster::start(binaries, plan).await?;
        let read = |url: &str| -> DatabaseUrl { url.parse().expect("the services took it") };
        let books = Books { account: read(&databases.account), order: read(&databases.order) };
        Ok(Self {
            orders,
            accounts,
            account_proxies,
            database_proxy,
            redis,
            postgres,
            databases,
            skewed: false,
            forgotten: Vec::new(),
            copy: None,
            books,
            _directory: directory,
        })
    }

    /// Opens the accounts and puts the products.
    ///
    /// # Errors
    /// When a call is refused.
    pub(super) async fn open(&self) -> Result<Opening, HarnessError> {
        let mut accounts = AccountServiceClient::new(connect(&self.accounts.account[0]).await?);
        let mut catalog = CatalogServiceClient::new(connect(&self.orders.order[0]).await?);
        let text = |units| Money::from_units(units).expect("small").to_string();
        let mut opening = Opening::default();
        let rich = (1..=ACCOUNTS).map(|account| (account, 100_000_000_000));
        for (account_id, units) in rich.chain([(POOR, 200_000)]) {
            let (currency, opening_balance) = (String::new(), text(units));
            let request = OpenAccountRequest { account_id, currency, opening_balance };
            accounts.open_account(request).await.map_err(HarnessError::call("open an account"))?;
            opening.balances.insert(account_id, units);
        }
        for (product_id, units, stock) in [(PLENTY, 30_000, 1_000_000), (SCARCE, 70_000, 40)] {
            let (name, price) = (format!("product {product_id}"), text(units));
            let currency = String::new();
            let request = PutProductRequest { product_id, name, price, stock, currency };
            catalog.put_product(request).await.map_err(HarnessError::call("put a product"))?;
            opening.products.insert(product_id, (units, stock));
        }
        Ok(opening)
    }

    /// Connections to all pods.
    ///
    /// # Errors
    /// When an address cannot be one.
    pub(super) fn pods(&self) -> Result<Pods, HarnessError> {
        let accounts: Vec<_> = self.accounts.account.iter().map(|pod| pod.address()).collect();
        let orders: Vec<_> = self.orders.order.iter().map(|pod| pod.address()).collect();
        Pods::new(&accounts, &orders)
    }

    /// Reads the counters of the order pods that answer.
    pub(super) async fn look(&self, sometimes: &mut Sometimes) {
        for pod in &self.orders.order {
            let _frozen = timeout(GLANCE, sometimes.read(pod)).await;
        }
    }

    /// Lets a fault begin.
    ///
    /// # Errors
    /// When the harness cannot do it.
    pub(super) async fn begin(&mut self, fault: Fault) -> Result<(), HarnessError> {
        match fault {
            Fault::KillOrderPod(pod) => self.orders.order[pod].kill()?,
            Fault::KillAccountPod(pod) => self.accounts.account[pod].kill()?,
            Fault::SkewClock(pod) => {
                let skew = SKEWS[usize::from(self.skewed)];
                self.skewed = !self.skewed;
                for pod in [&mut self.orders.order[pod], &mut self.accounts.account[pod]] {
                    pod.kill()?;
                    pod.set_clock(Some(skew));
                }
            }
            Fault::FreezeOrderPod(pod) => self.orders.order[pod].freeze(),
            Fault::OutliveGivingUp(pod) => {
                self.freeze_with_money_held(pod).await;
                self.weather(Weather { cut: true, ..Weather::default() });
            }
            Fault::FreezeAccountPod(pod) => self.accounts.account[pod].freeze(),
            Fault::KillDatabase => self.postgres.as_mut().map_or(Ok(()), Postgres::kill)?,
            Fault::CutCommits => self.database_proxy.iter().for_each(|p| p.cut_commits(COMMITS)),
            Fault::SlowNetwork => {
                self.weather(Weather { delay: SLOW, ..Weather::default() });
                let slow = Weather { delay: SLOW_DATABASE, ..Weather::default() };
                self.database_proxy.iter().for_each(|proxy| proxy.set(slow));
            }
            Fault::HoldRequests => {
                self.weather(Weather { hold_requests: true, ..Weather::default() });
            }
            Fault::HoldAnswers => {
                self.weather(Weather { hold_answers: true, ..Weather::default() })
            }
            Fault::Partition => self.weather(Weather { cut: true, ..Weather::default() }),
            Fault::KillRedis => self.redis.kill()?,
            Fault::FreezeRedis => self.redis.freeze(),
            // Both may lose against the load; then nothing is forgotten this time.
            Fault::FlushRedis => drop(self.redis.flush().await),
            Fault::ForgetKeys => self.forget_keys().await,
            Fault::CopyOrders => {
                let began = Instant::now();
                self.copy = Some((began, Backup::take(&self.databases.order).await?));
            }
        }
        Ok(())
    }

    async fn forget_keys(&mut self) {
        let began = Instant::now();
        let refused = self.books.forget_keys().await.unwrap_or_default();
        let span = (began, Instant::now());
        self.forgotten.extend(refused.into_iter().map(|key| (span, key)));
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// When something does not come back.
    pub(super) async fn end(&mut self, fault: Fault) -> Result<(), HarnessError> {
        match fault {
            Fault::KillOrderPod(pod) => {
                self.orders.order[pod].restart()?;
                self.orders.order[pod].wait_ready().await?;
            }
            Fault::KillAccountPod(pod) => {
                self.accounts.account[pod].restart()?;
                self.accounts.account[pod].wait_ready().await?;
            }
            Fault::SkewClock(pod) => {
                for pod in [&mut self.accounts.account[pod], &mut self.orders.order[pod]] {
                    pod.restart()?;
                    pod.wait_ready().await?;
                }
            }
            Fault::FreezeOrderPod(pod) => self.orders.order[pod].thaw(),
            Fault::OutliveGivingUp(pod) => {
                self.weather(Weather::default());
                let released = async {
                    while self.books.has_releases().await.unwrap_or(true) {
                        sleep(GLANCE).await;
                    }
                };
                let _it_wakes_all_the_same = timeout(RELEASING, released).await;
                self.orders.order[pod].thaw();
            }
            Fault::FreezeAccountPod(pod) => self.accounts.account[pod].thaw(),
            Fault::KillDatabase => {
                if let Some(server) = &mut self.postgres {
                    server.start_again().await?;
                }
            }
            Fault::CutCommits => self.database_proxy.iter().for_each(|proxy| proxy.cut_commits(0)),
            Fault::SlowNetwork | Fault::HoldRequests | Fault::HoldAnswers | Fault::Partition => {
                self.weather(Weather::default());
                self.database_proxy.iter().for_each(|proxy| proxy.set(Weather::default()));
            }
            Fault::KillRedis => self.redis.start_again().await?,
            Fault::FreezeRedis => self.redis.thaw(),
            Fault::FlushRedis | Fault::ForgetKeys | Fault::CopyOrders => {}
        }
        Ok(())
    }

    /// Waits until nothing is left to do, so long and no longer: what is left then, the checker finds.
    ///
    /// # Errors
    /// When a pod is not ready, or the books cannot be read.
    pub(super) async fn quiet(&mut self) -> Result<(), HarnessError> {
        for pod in self.accounts.account.iter_mut().chain(&mut self.orders.order) {
            pod.wait_ready().await?;
        }
        let quiet = async {
            while self.books.unfinished().await.map_or(true, |left| left > 0) {
                sleep(GLANCE).await;
            }
        };
        let _what_is_left_is_found = timeout(QUIET_WITHIN, quiet).await;
        Ok(())
    }

    /// Stops all pods and has both services, and the third program, check the books. Answers what they say is wrong.
    ///
    /// # Errors
    /// When a pod does not stop.
    pub(super) async fn verify(&mut self) -> Result<Vec<String>, HarnessError> {
        self.orders.stop()?;
        self.accounts.stop()?;
        let binaries = self.orders.binaries();
        let mut wrong = Vec::new();
        for (service, url) in
            [(Service::Account, &self.databases.account), (Service::Order, &self.databases.order)]
        {
            wrong.extend(binaries.verify(service, url).err().map(|error| error.to_string()));
        }
        match holdfast_verify::verify(&self.books.account, &self.books.order, Settings::at_rest())
            .await
        {
            Ok(report) if report.ok => {}
            Ok(report) => wrong.push(format!("{:?}", report.breaches)),
            Err(error) => wrong.push(error.to_string()),
        }
        Ok(wrong)
    }

    /// Freezes an order pod between holding an order's money and writing its decision, by making it wait there for the
    /// books. Whether it did is read off the books: an order that nobody decides while everybody else can.
    async fn freeze_with_money_held(&self, pod: usize) {
        for _ in 0..FREEZES {
            let held = self.books.hold_orders().await;
            self.database_proxy.iter().for_each(|proxy| {
                proxy.set(Weather { hold_requests: true, ..Weather::default() });
            });
            sleep(RESERVING).await;
            self.orders.order[pod].freeze();
            drop(held);
            self.database_proxy.iter().for_each(|proxy| proxy.set(Weather::default()));
            let before = self.books.paid_and_undecided().await.unwrap_or_default();
            sleep(DECIDING).await;
            let after = self.books.paid_and_undecided().await.unwrap_or_default();
            if !before.is_disjoint(&after) {
                return;
            }
            self.orders.order[pod].thaw();
        }
        // Nobody orders anything.
        self.orders.order[pod].freeze();
    }

    fn weather(&self, weather: Weather) {
        self.account_proxies.iter().for_each(|proxy| proxy.set(weather));
    }
}
