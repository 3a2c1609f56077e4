//! A process falls silent while its leases run, as they are shipped: the others do not wait for them.

use std::time::{Duration, Instant};

use failpoint::Point;
use tokio::task::JoinSet;

use crate::scene::Scene;
use crate::world::{Backend, World, place, until};

/// What is shipped, in place of the short times that other tests have.
const SHIPPED: [&str; 8] = [
    "--lease",
    "60s",
    "--account-timeout",
    "5s",
    "--settle-lease",
    "15s",
    "--complete-interval",
    "5s",
];

/// Within this all that a silent process had begun is decided.
const BOUND: Duration = Duration::from_secs(5);

/// Orders that a pod has begun when it is killed.
const BEGUN: usize = 40;

/// The account service is silent for a moment, so that all orders are begun and none is decided when the pod is killed.
async fn all_that_a_killed_pod_had_begun_is_decided_in_seconds(backend: Backend) {
    let mut world = World::start(backend, 2, &SHIPPED).await;
    // A pod that has just started judges nobody yet.
    until("both pods to be steady", async || steady(&world).await == 2).await;
    world.cluster.account[0].freeze();
    let mut callers = JoinSet::new();
    for number in 0..BEGUN {
        let request = Scene::Order.request(&format!("key {number}"));
        callers.spawn(place(world.lazily(0), request));
    }
    until("all orders to be begun", async || world.unfinished().await == BEGUN).await;
    world.cluster.order[0].kill().unwrap();
    let killed = Instant::now();
    world.cluster.account[0].thaw();

    until("all orders to be decided", async || world.unfinished().await == 0).await;
    let took = killed.elapsed();
    println!("{BEGUN} orders of a killed pod were decided within {took:?}");
    assert!(took < BOUND, "{took:?}");

    callers.shutdown().await;
    for number in 0..BEGUN {
        let reply = world.persist(1, &Scene::Order.request(&format!("key {number}"))).await;
        assert!(reply.unwrap().replayed);
    }
    assert!(world.cluster.order[1].counter("order_workers_reaped_total", &[]).await >= 1.0);
    world.check_books().await;
}

/// How many processes have beaten for so long that they judge others.
pub(crate) async fn steady(world: &World) -> usize {
    let steady = match &world.books.order {
        database::DatabaseUrl::Postgres(_) => {
            "SELECT 1::text FROM workers WHERE steady_since < now() - interval '3 s'"
        }
        database::DatabaseUrl::Sqlite(_) => {
            "SELECT '1' FROM workers WHERE steady_since < (unixepoch('subsec') - 3) * 1000000"
        }
    };
    tests::rows::rows(&world.books.order, steady).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_killed_pod_had_begun_is_decided_in_seconds_on_sqlite() {
    all_that_a_killed_pod_had_begun_is_decided_in_seconds(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_a_killed_pod_had_begun_is_decided_in_seconds_on_postgresql() {
    all_that_a_killed_pod_had_begun_is_decided_in_seconds(Backend::Postgres).await;
}

async fn a_frozen_pod_is_overtaken_in_seconds_and_then_writes_nothing(backend: Backend) {
    let mut world = World::start(backend, 2, &SHIPPED).await;
    let pod = &mut world.cluster.order[0];
    pod.terminate();
    pod.wait_gone().unwrap();
    pod.restart_with(&["--freeze-at".to_owned(), format!("{}:2", Point::Reserved)]).unwrap();
    pod.wait_ready().await.unwrap();
    world.persist(0, &Scene::Order.request("first")).await.unwrap();
    until("both pods to be steady", async || steady(&world).await == 2).await;

    let asked = Instant::now();
    let caller = tokio::spawn(place(world.lazily(0), Scene::Order.request("key")));
    until("the freeze", async || world.cluster.order[0].is_frozen()).await;
    // The other pod is not asked for it.
    until("the order", async || world.orders_of_key("key").await.len() == 1).await;
    let took = asked.elapsed();
    caller.abort();
    println!("the order of a frozen pod was decided within {took:?}");
    assert!(took < BOUND, "{took:?}");

    world.cluster.order[0].thaw();
    let fenced = async || world.cluster.order[0].counter("order_fenced_total", &[]).await >= 1.0;
    until("the zombie to be fenced", fenced).await;
    let placed = world.persist(1, &Scene::Order.request("key")).await.unwrap();
    let again = world.persist(0, &Scene::Order.request("key")).await.unwrap();
    assert_eq!((again.order, again.payment), (placed.order, placed.payment));
    until("it to be alive again", async || steady(&world).await == 2).await;
    world.check_books().await;
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_pod_is_overtaken_in_seconds_and_then_writes_nothing_on_sqlite() {
    a_frozen_pod_is_overtaken_in_seconds_and_then_writes_nothing(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_pod_is_overtaken_in_seconds_and_then_writes_nothing_on_postgresql() {
    a_frozen_pod_is_overtaken_in_seconds_and_then_writes_nothing(Backend::Postgres).await;
}
