//! One account pod, some order pods, all with fail points; callers that come back until they are told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use database::DatabaseUrl;
use holdfast_verify::Settings;
use proto::Reason;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{Account, DepositRequest, GetAccountRequest, OpenAccountRequest};
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::{AdjustStockRequest, PlaceOrderReply, PlaceOrderRequest, PutProductRequest};
use tests::ask::PATIENCE;
use tests::chaos::books::Books;
use tests::cluster::{Binaries, Cluster, Databases, Plan, SHORT_LEASES, connect, sqlite_in};
use tests::disk::SmallDisk;
use tests::postgres::Postgres;
use tests::proxy::Proxy;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) use tests::ask::{CALL, place};

pub(crate) const ACCOUNT: i64 = 7;
pub(crate) const OPENING: i64 = 1_000_000;
pub(crate) const PRICE: i64 = 10;

/// A product of which there are few.
pub(crate) const SCARCE: i64 = 3;

const GLANCE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Between the order pods and PostgreSQL.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) books: Books,
    pub(crate) ground: Ground,
}

/// What the books stand on. It goes when the pods are gone.
pub(crate) struct Ground {
    pub(crate) databases: Databases,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) disk: Option<SmallDisk>,
    _directory: tempfile::TempDir,
}

impl Ground {
    /// Two empty databases.
    pub(crate) async fn make(backend: Backend) -> Self {
        match backend {
            Backend::Sqlite => {
                let directory = tempfile::TempDir::with_prefix("holdfast-faults-").unwrap();
                Self::of(sqlite_in(directory.path()), None, directory)
            }
            Backend::Postgres => Self::make_with(&[]).await,
        }
    }

    /// Two databases of a PostgreSQL with these settings.
    pub(crate) async fn make_with(settings: &[&str]) -> Self {
        let server = Postgres::start_with(settings).await.unwrap();
        let account = server.create_database("account").await.unwrap();
        let order = server.create_database("orders").await.unwrap();
        let directory = tempfile::TempDir::with_prefix("holdfast-faults-").unwrap();
        Self::of(Databases { account, order }, Some(server), directory)
    }

    /// The orders on PostgreSQL, the ledger in a file: what befalls one spares the other.
    pub(crate) async fn make_apart() -> Self {
        let mut ground = Self::make(Backend::Postgres).await;
        ground.databases.account = sqlite_in(ground._directory.path()).account;
        ground
    }

    /// Both files on a small disk, or the orders' database.
    pub(crate) async fn make_small(backend: Backend) -> Self {
        let disk = SmallDisk::mount(48).unwrap();
        let mut ground = match backend {
            Backend::Sqlite => {
                let directory = tempfile::TempDir::with_prefix("holdfast-faults-").unwrap();
                Self::of(sqlite_in(disk.path()), None, directory)
            }
            Backend::Postgres => Self::make(backend).await,
        };
        if let Some(server) = &ground.postgres {
            ground.databases.order = server.create_database_in("small", disk.path()).await.unwrap();
        }
        ground.disk = Some(disk);
        ground
    }

    fn of(databases: Databases, postgres: Option<Postgres>, directory: tempfile::TempDir) -> Self {
        Self { databases, postgres, disk: None, _directory: directory }
    }
}

impl World {
    pub(crate) async fn start(backend: Backend, order_pods: usize, flags: &[&str]) -> Self {
        Self::start_on(Ground::make(backend).await, order_pods, flags).await
    }

    pub(crate) async fn start_on(ground: Ground, order_pods: usize, flags: &[&str]) -> Self {
        let binaries = Binaries::build_with_fail_points().unwrap();
        let direct = ground.databases.clone();
        let mut through = direct.clone();
        let proxy = match &ground.postgres {
            None => None,
            Some(server) => {
                let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
                let proxy = Proxy::start(address).await.unwrap();
                let (port, other) = (server.port(), proxy.address().port());
                through.order = direct.order.replace(&format!(":{port}/"), &format!(":{other}/"));
                Some(proxy)
            }
        };
        let plan = Plan {
            account_pods: 1,
            order_pods,
            databases: Some(through),
            order_flags: flags_with(flags),
            ..Plan::default()
        };
        let cluster = Cluster::start(binaries, plan).await.unwrap();
        let read = |url: &str| url.parse::<DatabaseUrl>().unwrap();
        let books = Books { account: read(&direct.account), order: read(&direct.order) };
        let world = Self { cluster, proxy, books, ground };
        world.open().await;
        world
    }

    async fn open(&self) {
        let mut accounts =
            AccountServiceClient::new(connect(&self.cluster.account[0]).await.unwrap());
        let (currency, opening_balance) = (String::new(), OPENING.to_string());
        let request = OpenAccountRequest { account_id: ACCOUNT, currency, opening_balance };
        accounts.open_account(request).await.unwrap();
        let mut catalog = CatalogServiceClient::new(connect(&self.cluster.order[0]).await.unwrap());
        let (name, price) = ("scarce".to_owned(), PRICE.to_string());
        let currency = String::new();
        let request = PutProductRequest { product_id: SCARCE, name, price, stock: 1, currency };
        catalog.put_product(request).await.unwrap();
    }

    /// Gives the account more.
    pub(crate) async fn deposit(&self, amount: &str) {
        let mut accounts =
            AccountServiceClient::new(connect(&self.cluster.account[0]).await.unwrap());
        let (amount, deposit_id) = (amount.to_owned(), format!("deposit of {amount}"));
        let request = DepositRequest { account_id: ACCOUNT, amount, deposit_id };
        accounts.deposit(request).await.unwrap();
    }

    /// Puts more of the scarce product in stock.
    pub(crate) async fn supply(&self, delta: i64) {
        let mut catalog = CatalogServiceClient::new(connect(&self.cluster.order[0]).await.unwrap());
        let adjustment_id = format!("supply of {delta}");
        let request = AdjustStockRequest { product_id: SCARCE, delta, adjustment_id };
        catalog.adjust_stock(request).await.unwrap();
    }

    /// A connection to an order pod that is made when it is used, and again whenever it breaks.
    pub(crate) fn lazily(&self, pod: usize) -> Channel {
        let address = format!("http://{}", self.cluster.order[pod].address());
        Endpoint::from_shared(address).unwrap().connect_lazy()
    }

    /// One call, on a connection of its own.
    pub(crate) async fn place(
        &self,
        pod: usize,
        request: PlaceOrderRequest,
    ) -> Result<PlaceOrderReply, Status> {
        place(self.lazily(pod), request).await
    }

    /// Calls until there is an answer for good: an order, or the reason why there will be none.
    pub(crate) async fn persist(
        &self,
        pod: usize,
        request: &PlaceOrderRequest,
    ) -> Result<PlaceOrderReply, Reason> {
        persist(self.lazily(pod), request).await
    }

    /// The ids of all orders by a key, as they stand in the database.
    pub(crate) async fn orders_of_key(&self, key: &str) -> Vec<String> {
        let orders = self.books.orders_of_key(key).await.unwrap();
        orders.into_iter().map(|order| order.order_id).collect()
    }

    pub(crate) async fn account(&self) -> Account {
        let mut accounts =
            AccountServiceClient::new(connect(&self.cluster.account[0]).await.unwrap());
        let request = GetAccountRequest { account_id: ACCOUNT };
        accounts.get_account(request).await.unwrap().into_inner()
    }

    /// Keys undecided and outbox rows untold.
    pub(crate) async fn unfinished(&self) -> usize {
        self.books.unfinished().await.unwrap()
    }

    /// Waits until each database knows how far the other has come.
    pub(crate) async fn introduced(&self) {
        let (account, order) = (&self.books.account, &self.books.order);
        until("the two databases to know each other", async || {
            told(order, account).await && told(account, order).await
        })
        .await;
    }

    /// Waits until nothing is left to do; then both books are sound, each and together.
    pub(crate) async fn check_books(&self) {
        until("everything to be settled", async || self.unfinished().await == 0).await;
        self.cluster.verify().unwrap();
        let report =
            holdfast_verify::verify(&self.books.account, &self.books.order, Settings::at_rest())
                .await
                .unwrap();
        assert!(report.ok, "{report:?}");
    }
}

/// Whether a database knows of all that the other committed.
async fn told(database: &DatabaseUrl, other: &DatabaseUrl) -> bool {
    let known = "SELECT commits FROM partner_positions";
    let known = tests::rows::rows(database, known).await.unwrap();
    let own = "SELECT CAST(sum(commits) AS text) FROM commit_counters";
    let own = tests::rows::rows(other, own).await.unwrap();
    let sum =
        |text: &String| text.split(' ').map(|number| number.parse::<i64>().unwrap()).sum::<i64>();
    let known: i64 = known.iter().flatten().map(sum).sum();
    [known.to_string()] == *own[0]
}

/// The usual ones, but for those that are given.
fn flags_with(given: &[&str]) -> Vec<String> {
    let usual = SHORT_LEASES.chunks_exact(2).filter(|pair| !given.contains(&pair[0])).flatten();
    usual.chain(given).map(ToString::to_string).collect()
}

/// Calls until there is an answer for good: an order, or the reason why there will be none.
pub(crate) async fn persist(
    channel: Channel,
    request: &PlaceOrderRequest,
) -> Result<PlaceOrderReply, Reason> {
    tests::ask::persist(channel, request)
        .await
        .unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !reached().await {
        assert!(began.elapsed() < PATIENCE, "never came to: {what}");
        tokio::time::sleep(GLANCE).await;
    }
}
