//! A process sleeps beyond its lease and wakes: what it still wants to write matches nothing.

use failpoint::Point;
use proto::Reason;

use crate::scene::Scene;
use crate::world::{Backend, OPENING, PRICE, World, until};

/// Restarts the first order pod so that it freezes when it comes to a point the second time. The first time it has
/// made its connections.
async fn arm(world: &mut World, point: Point) {
    let pod = &mut world.cluster.order[0];
    pod.terminate();
    pod.wait_gone().unwrap();
    pod.restart_with(&["--freeze-at".to_owned(), format!("{point}:2")]).unwrap();
    pod.wait_ready().await.unwrap();
    world.persist(0, &Scene::Order.request("first")).await.unwrap();
}

/// Places an order there, and waits for the freeze.
async fn come_to_the_freeze(world: &World) {
    // Nobody answers this one.
    let _lost = world.place(0, Scene::Order.request("key")).await;
    until("the freeze", async || world.cluster.order[0].is_frozen()).await;
}

async fn fenced(world: &World) -> f64 {
    world.cluster.order[0].counter("order_fenced_total", &[]).await
}

async fn a_worker_that_slept_beyond_its_lease_writes_nothing_and_says_so(backend: Backend) {
    let mut world = World::start(backend, 2, &[]).await;
    arm(&mut world, Point::Reserved).await;
    come_to_the_freeze(&world).await;
    // The other pod takes the key over when the lease is over.
    let placed = world.persist(1, &Scene::Order.request("key")).await.unwrap();
    assert!(world.cluster.order[1].counter("order_takeovers_total", &[]).await >= 1.0);
    world.cluster.order[0].thaw();
    until("the zombie to be fenced", async || fenced(&world).await >= 1.0).await;
    let again = world.persist(0, &Scene::Order.request("key")).await.unwrap();
    assert_eq!((again.order, again.payment), (placed.order, placed.payment));
    world.check_books().await;
    assert_eq!(world.account().await.balance, (OPENING - 2 * PRICE).to_string());
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_beyond_its_lease_writes_nothing_and_says_so_on_sqlite() {
    a_worker_that_slept_beyond_its_lease_writes_nothing_and_says_so(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_beyond_its_lease_writes_nothing_and_says_so_on_postgresql() {
    a_worker_that_slept_beyond_its_lease_writes_nothing_and_says_so(Backend::Postgres).await;
}

/// The key is given up, its release leaves a tombstone, and only then does the Reserve go out. It has time to: were it
/// given up on a busy machine, or while a connection that died meanwhile is made anew, nobody would learn what it met.
#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_that_comes_after_the_key_was_given_up_holds_nothing() {
    let flags = ["--account-timeout", "3s", "--lease", "3500ms", "--give-up-after", "4s"];
    let mut world = World::start(Backend::Postgres, 2, &flags).await;
    arm(&mut world, Point::Claimed).await;
    // While nobody can be asked, the key is not decided: it grows old.
    world.cluster.account[0].freeze();
    come_to_the_freeze(&world).await;
    let refused = world.persist(1, &Scene::Order.request("key")).await.unwrap_err();
    assert_eq!(refused, Reason::PaymentFailed);
    world.cluster.account[0].thaw();
    until("the release", async || world.unfinished().await == 0).await;
    world.cluster.order[0].thaw();
    until("the zombie to be fenced", async || fenced(&world).await >= 1.0).await;
    world.check_books().await;
    let account = world.account().await;
    assert_eq!(
        (account.balance, account.reserved),
        ((OPENING - PRICE).to_string(), "0".to_owned())
    );
}
