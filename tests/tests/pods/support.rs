//! A namespace whose pods live fast, and a stream of orders from outside.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::Channel;
use client::resolve::{Dns, Resolve};
use proto::account::v1::OpenAccountRequest;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::PlaceOrderRequest;
use proto::order::v1::order_service_client::OrderServiceClient;
use tests::cluster::{Binaries, Databases, connect_to, sqlite_in};
use tests::pods::{Delay, Deployment, Manifests, Namespace, PodStatus, Setup, Status};
use tokio::task::JoinHandle;
use tonic::{Request, Status as Answer};

/// Long enough for a loaded machine, short enough for a person.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
const ACCOUNT: i64 = 1;

pub(crate) fn databases(directory: &Path) -> Databases {
    sqlite_in(directory)
}

/// The manifests, with every wait of seconds made one of tenths.
pub(crate) fn fast() -> Manifests {
    Manifests::fast().unwrap()
}

pub(crate) async fn namespace(books: &Path, manifests: Manifests) -> Namespace {
    let range = Duration::from_millis(5)..=Duration::from_millis(200);
    let setup = Setup {
        binaries: Binaries::build().unwrap(),
        databases: databases(books),
        manifests,
        delay: Delay { range, seed: 7 },
        dns_ttl_s: 1,
    };
    Namespace::start(setup).await.unwrap()
}

/// The numbers of a Deployment's pods that calls are routed to.
pub(crate) fn ready_numbers(status: &Status) -> Vec<u32> {
    status.ready().map(|pod| pod.number).collect()
}

pub(crate) fn first_ready(deployment: &Deployment) -> PodStatus {
    deployment.status().ready().next().unwrap().clone()
}

/// Whether DNS, as an order pod asks it, names this pod.
pub(crate) async fn dns_names(namespace: &Namespace, pod: &PodStatus) -> bool {
    let (server, host) = namespace.headless();
    let answer = Dns::at(server, host, pod.grpc.port()).unwrap().resolve().await;
    answer.is_ok_and(|answer| {
        answer.addresses.iter().any(|address| address.to_string() == pod.grpc.to_string())
    })
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.unwrap_or_else(|_| panic!("never came to: {what}"));
}

/// Orders one after another, through the balancer, until told to stop.
pub(crate) struct Orders {
    stop: Arc<AtomicBool>,
    placed: Arc<AtomicU64>,
    placing: JoinHandle<Result<(), Answer>>,
}

const CONFIG: &str = r#"{"methodConfig": [{
    "name": [{"service": "order.v1.OrderService"}],
    "idempotent": true,
    "waitForReady": true,
    "retryPolicy": {
        "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]
    }
}]}"#;

impl Orders {
    pub(crate) async fn start(namespace: &Namespace) -> Self {
        let pod = first_ready(&namespace.account);
        let mut accounts = AccountServiceClient::new(connect_to(pod.grpc).await.unwrap());
        let (currency, opening_balance) = (String::new(), "1000000".to_owned());
        let account = OpenAccountRequest { account_id: ACCOUNT, currency, opening_balance };
        accounts.open_account(account).await.unwrap();

        let channel = Channel::builder(namespace.cluster_ip()).service_config(CONFIG);
        let stub = OrderServiceClient::new(channel.build().unwrap());
        let (stop, placed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let placing = tokio::spawn(place(stub, stop.clone(), placed.clone()));
        Self { stop, placed, placing }
    }

    /// Waits for some more answers.
    pub(crate) async fn more(&self, count: u64) {
        let goal = self.placed.load(Ordering::Relaxed) + count;
        until("more orders", async || {
            self.placed.load(Ordering::Relaxed) >= goal || self.placing.is_finished()
        })
        .await;
    }

    /// Stops; an order that failed is the test's failure.
    pub(crate) async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.placing.await.unwrap().unwrap();
    }
}

async fn place(
    mut stub: OrderServiceClient<Channel>,
    stop: Arc<AtomicBool>,
    placed: Arc<AtomicU64>,
) -> Result<(), Answer> {
    while !stop.load(Ordering::Relaxed) {
        let number = placed.load(Ordering::Relaxed);
        let mut request = Request::new(PlaceOrderRequest {
            account_id: ACCOUNT,
            idempotency_key: format!("key-{number}"),
            amount: "1".to_owned(),
            ..PlaceOrderRequest::default()
        });
        request.set_timeout(BOUND);
        // Also where a killed pod had begun the order: the retry waits for the take-over.
        stub.place_order(request).await?;
        placed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
