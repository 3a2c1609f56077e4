//! kill -9, at chosen moments and at any.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tests::cluster::{Plan, Pod};

use crate::load::{Load, persist};
use crate::support::{Backend, World, order, until};

/// Between two kills of the same pod: enough for orders to be under way again.
const BREATHER: Duration = Duration::from_millis(300);

async fn nothing_is_lost_or_doubled_when_pods_are_killed(backend: Backend) {
    let mut world = World::start(backend, Plan::default()).await;
    let load = Load::start(&world).await;
    for round in 0..3 {
        let cluster = &mut world.cluster;
        for pod in [&mut cluster.order[round % 2], &mut cluster.account[round % 2]] {
            pod.kill().unwrap();
            pod.restart().unwrap();
            pod.wait_ready().await.unwrap();
            tokio::time::sleep(BREATHER).await;
        }
    }
    load.check(&world).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_pods_are_killed_on_sqlite() {
    nothing_is_lost_or_doubled_when_pods_are_killed(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_pods_are_killed_on_postgresql() {
    nothing_is_lost_or_doubled_when_pods_are_killed(Backend::Postgres).await;
}

async fn books(world: &World) -> PgConnection {
    PgConnection::connect(&world.cluster.databases().order).await.unwrap()
}

/// The order id of the one key that is being worked on.
async fn claimed(connection: &mut PgConnection) -> Option<String> {
    let query = "SELECT order_id::text FROM idempotency_keys WHERE status = 'PROCESSING'";
    sqlx::query_scalar(query).fetch_optional(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_pod_was_killed_after_the_claim_is_placed_once_with_the_same_ids() {
    let mut world = World::start(Backend::Postgres, Plan::default()).await;
    world.account(7, "100").await;
    let mut books = books(&world).await;
    // With the account service silent the order stands between claim and Reserve.
    world.cluster.account.iter().for_each(Pod::freeze);
    let (clients, request) = (world.clients.clone(), order(7, "key", "10"));
    let first = tokio::spawn(async move {
        crate::support::place(&clients, 0, request, Duration::from_secs(30)).await
    });
    until("the claim", async || claimed(&mut books).await.is_some()).await;
    let order_id = claimed(&mut books).await.unwrap();
    world.cluster.order[0].kill().unwrap();
    assert!(first.await.unwrap().is_err());
    world.cluster.account.iter().for_each(Pod::thaw);

    let reply = persist(&world.clients, 1, order(7, "key", "10")).await;
    assert_eq!(reply.order.unwrap().order_id, order_id);
    assert_eq!(world.orders_of(1, 7).await.len(), 1);
    assert_eq!(world.settled_account(7).await.balance, "90");
    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_pod_was_killed_after_reserve_is_finished_without_being_asked_for_again() {
    let mut world = World::start(Backend::Postgres, Plan::default()).await;
    world.account(7, "100").await;
    let mut books = books(&world).await;
    // The lock lets the claim through and holds the commit.
    let mut lock = books_locked(&world).await;
    let (clients, request) = (world.clients.clone(), order(7, "key", "10"));
    let first = tokio::spawn(async move {
        crate::support::place(&clients, 0, request, Duration::from_secs(30)).await
    });
    until("the hold", async || world.read_account(7).await.unwrap().reserved == "10").await;
    let order_id = claimed(&mut books).await.unwrap();
    world.cluster.order[0].kill().unwrap();
    assert!(first.await.unwrap().is_err());
    lock.execute("ROLLBACK").await.unwrap();

    // Nobody asks: the completer of the other pod takes it over when the lease is over.
    let placed =
        async || world.orders_of(1, 7).await.iter().any(|order| order.order_id == order_id);
    wait_past_the_lease("the order", placed).await;
    assert_eq!(world.orders_of(1, 7).await.len(), 1);
    assert_eq!(world.settled_account(7).await.balance, "90");
    let replay = persist(&world.clients, 1, order(7, "key", "10")).await;
    assert!(replay.replayed);
    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();
    world.stop_and_verify().await;
}

/// A transaction that lets nobody write to `orders`.
async fn books_locked(world: &World) -> PgConnection {
    let mut connection = books(world).await;
    connection.execute("BEGIN").await.unwrap();
    connection.execute("LOCK TABLE orders IN SHARE MODE").await.unwrap();
    connection
}

/// A lease lasts a minute.
async fn wait_past_the_lease(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(150), wait).await;
    waited.unwrap_or_else(|_| panic!("never came to: {what}"));
}
