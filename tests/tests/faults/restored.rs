//! A backup of one database is put back: orders or reservations that callers were told of are gone.
//!
//! The services notice, say so, and do nothing until an operator has accepted it. Then each caller's retry finds the
//! reservation of its lost order: it is placed again with the same id, and paid once.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::order::v1::PlaceOrderRequest;
use tests::backup::Backup;
use tests::cluster::{Pod, Service};
use tonic::Code;

use crate::scene::Scene;
use crate::world::{Backend, OPENING, PRICE, World, persist, until};

/// Orders before the backup, and after it.
const KEPT: usize = 4;
const LOST: usize = 6;

async fn place_all(world: &World, requests: &[PlaceOrderRequest]) -> BTreeMap<String, String> {
    let mut placed = BTreeMap::new();
    for request in requests {
        let order = world.persist(0, request).await.unwrap().order.unwrap();
        placed.insert(request.idempotency_key.clone(), order.order_id);
    }
    until("every order to be captured", async || world.unfinished().await == 0).await;
    placed
}

fn requests(name: &str, count: usize) -> Vec<PlaceOrderRequest> {
    (0..count).map(|number| Scene::Order.request(&format!("{name}-{number}"))).collect()
}

async fn stop(pod: &mut Pod) {
    pod.terminate();
    pod.wait_gone().unwrap();
}

async fn lost_orders_are_noticed_and_paid_once(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    let (kept, lost) = (requests("kept", KEPT), requests("lost", LOST));
    let mut told = place_all(&world, &kept).await;
    let orders = world.ground.databases.order.clone();
    let backup = Backup::take(&orders).await.unwrap();
    told.extend(place_all(&world, &lost).await);

    // Nobody who saw the lost orders is left but the account service.
    stop(&mut world.cluster.order[0]).await;
    backup.restore(&orders).await.unwrap();
    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_health_says("went back in time").await.unwrap();
    let refused = world.place(0, lost[0].clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");

    // A restart changes nothing.
    stop(&mut world.cluster.order[0]).await;
    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_health_says("went back in time").await.unwrap();

    world.cluster.binaries().resume(Service::Order, &orders).unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();

    let all: Vec<_> = kept.into_iter().chain(lost).collect();
    assert_eq!(
        place_all(&world, &all).await,
        told,
        "an order has another id than its caller was told"
    );
    let spent = PRICE * i64::try_from(all.len()).unwrap();
    assert_eq!(world.account().await.balance, (OPENING - spent).to_string());
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_lost_with_a_restored_file_are_noticed_and_paid_once() {
    lost_orders_are_noticed_and_paid_once(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_lost_with_a_restored_dump_are_noticed_and_paid_once() {
    lost_orders_are_noticed_and_paid_once(Backend::Postgres).await;
}

/// The copy is made between claim and order. By the time it is put back, its key is undecided for so long that it is given
/// up.
async fn an_order_that_the_copy_has_no_decision_of_is_not_given_up(backend: Backend) {
    let mut world = World::start(backend, 1, &["--give-up-after", "2s"]).await;
    let orders = world.ground.databases.order.clone();
    let pod = &mut world.cluster.order[0];
    stop(pod).await;
    pod.restart_with(&["--freeze-at".into(), "reserved".into()]).unwrap();
    pod.wait_ready().await.unwrap();

    let request = Scene::Order.request("in the middle");
    let channel = world.lazily(0);
    let placing = tokio::spawn(async move { persist(channel, &request).await });
    until("the pod to stop there", async || world.cluster.order[0].is_frozen()).await;
    let backup = Backup::take(&orders).await.unwrap();
    world.cluster.order[0].thaw();
    let told = placing.await.unwrap().unwrap().order.unwrap().order_id;
    until("the order to be captured", async || world.unfinished().await == 0).await;
    world.introduced().await;

    stop(&mut world.cluster.order[0]).await;
    backup.restore(&orders).await.unwrap();
    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_health_says("went back in time").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.cluster.binaries().resume(Service::Order, &orders).unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();

    // Nobody asks for it.
    until("the key to be decided", async || world.unfinished().await == 0).await;
    assert_eq!(world.orders_of_key("in the middle").await, [told]);
    assert_eq!(world.account().await.balance, (OPENING - PRICE).to_string());
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_restored_file_has_no_decision_of_is_not_given_up() {
    an_order_that_the_copy_has_no_decision_of_is_not_given_up(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_restored_dump_has_no_decision_of_is_not_given_up() {
    an_order_that_the_copy_has_no_decision_of_is_not_given_up(Backend::Postgres).await;
}

async fn a_lost_ledger_is_noticed(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    place_all(&world, &requests("kept", KEPT)).await;
    let ledger = world.ground.databases.account.clone();
    let backup = Backup::take(&ledger).await.unwrap();
    place_all(&world, &requests("lost", LOST)).await;
    world.introduced().await;

    stop(&mut world.cluster.account[0]).await;
    backup.restore(&ledger).await.unwrap();
    world.cluster.account[0].restart().unwrap();
    world.cluster.account[0].wait_ready().await.unwrap();

    world.cluster.order[0].wait_health_says("the ledger is not what it was").await.unwrap();
    let later = Scene::Order.request("later");
    let refused = world.place(0, later.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert_eq!(world.unfinished().await, 0, "a key was claimed");

    world.cluster.binaries().resume(Service::Account, &ledger).unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();
    world.persist(0, &later).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_lost_reservations_with_a_restored_file_is_noticed() {
    a_lost_ledger_is_noticed(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_lost_reservations_with_a_restored_dump_is_noticed() {
    a_lost_ledger_is_noticed(Backend::Postgres).await;
}
