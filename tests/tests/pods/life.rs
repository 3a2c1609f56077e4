//! Coming and going, one way after the other.

use std::time::{Duration, Instant};

use tests::cluster::{Binaries, Service};
use tests::pods::Cause;

use crate::support::{
    BOUND, Orders, databases, dns_names, fast, first_ready, namespace, ready_numbers, until,
};

const KILLED: i32 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_replaces_every_pod_and_no_order_fails() {
    let books = tempfile::tempdir().unwrap();
    let namespace = namespace(books.path(), fast()).await;
    let orders = Orders::start(&namespace).await;
    orders.more(20).await;
    let binaries = Binaries::build().unwrap();
    for service in [Service::Account, Service::Order] {
        namespace.roll(service, &binaries).await;
        let deployment = namespace.deployment(service);
        // At no moment are there fewer ready pods than wanted.
        let mut fewest = usize::MAX;
        let watched = deployment.until(BOUND, "the roll", |status| {
            fewest = fewest.min(status.ready().count());
            status.done
        });
        assert_eq!(ready_numbers(&watched.await.unwrap()), [3, 4], "{service:?}");
        assert!(fewest >= 2, "{service:?}: {fewest}");
        orders.more(20).await;
    }
    namespace.until_nobody_leaves(BOUND).await.unwrap();
    orders.finish().await;

    let departures = namespace.departures();
    assert_eq!(departures.len(), 4, "{departures:?}");
    for departure in departures {
        assert_eq!(
            (departure.cause, departure.exit_code),
            (Cause::Deleted, Some(0)),
            "{departure:?}"
        );
        assert!(departure.took >= Duration::from_millis(500), "preStop comes first: {departure:?}");
    }
    drop(namespace);
    let books = databases(books.path());
    binaries.verify(Service::Account, &books.account).unwrap();
    binaries.verify(Service::Order, &books.order).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_leaves_dns_while_it_still_serves_and_is_replaced() {
    let books = tempfile::tempdir().unwrap();
    let mut manifests = fast();
    manifests.account.pre_stop = Duration::from_secs(3600);
    let namespace = namespace(books.path(), manifests).await;
    let (accounts, pod) = (&namespace.account, first_ready(&namespace.account));
    assert!(dns_names(&namespace, &pod).await);
    accounts.delete(pod.number).await;
    until("DNS no longer names the pod", async || !dns_names(&namespace, &pod).await).await;
    let replaced = accounts.until(BOUND, "a replacement", |status| status.done).await.unwrap();
    assert_eq!(ready_numbers(&replaced), [2, 3]);

    let leaving: Vec<u32> = replaced.leaving().map(|pod| pod.number).collect();
    assert_eq!(leaving, [pod.number]);
    // In its preStop it still serves whoever comes.
    assert!(tests::cluster::connect_to(pod.grpc).await.is_ok());
    assert!(namespace.departures().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_outstays_its_grace_is_killed() {
    let books = tempfile::tempdir().unwrap();
    let mut manifests = fast();
    manifests.set("LAME_DUCK", "1h");
    manifests.order.grace = Duration::from_secs(1);
    let namespace = namespace(books.path(), manifests).await;
    namespace.order.delete(first_ready(&namespace.order).number).await;
    namespace.until_nobody_leaves(BOUND).await.unwrap();
    let departures = namespace.departures();
    let [departure] = departures.as_slice() else { panic!("{departures:?}") };
    assert_eq!((departure.cause, departure.signal), (Cause::Deleted, Some(KILLED)));
    assert!(departure.took >= Duration::from_secs(1), "{departure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_container_comes_back_under_its_address_and_no_order_fails() {
    let books = tempfile::tempdir().unwrap();
    let namespace = namespace(books.path(), fast()).await;
    let orders = Orders::start(&namespace).await;
    for deployment in [&namespace.account, &namespace.order] {
        orders.more(20).await;
        let pod = first_ready(deployment);
        deployment.kill(pod.number).await;
        let is_back = |status: &tests::pods::Status| {
            status.ready().any(|ready| ready.number == pod.number && ready.restarts == 1)
        };
        let status = deployment.until(BOUND, "the pod to come back", is_back).await.unwrap();
        assert_eq!(first_ready(deployment).grpc, pod.grpc);
        assert_eq!(status.pods.len(), 2);
    }
    orders.more(20).await;
    orders.finish().await;
    let causes: Vec<_> = namespace.departures().iter().map(|it| (it.cause, it.signal)).collect();
    assert_eq!(causes, [(Cause::Killed, Some(KILLED)); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_up_and_down_adds_and_removes_the_youngest() {
    let books = tempfile::tempdir().unwrap();
    let namespace = namespace(books.path(), fast()).await;
    let order = &namespace.order;
    order.scale(4).await;
    let four = order.until(BOUND, "four pods", |status| status.done).await.unwrap();
    assert_eq!(ready_numbers(&four), [1, 2, 3, 4]);
    let began = Instant::now();
    order.scale(2).await;
    let two = order.until(BOUND, "two pods", |status| status.done).await.unwrap();
    assert_eq!(ready_numbers(&two), [1, 2], "{:?}", began.elapsed());
    namespace.until_nobody_leaves(BOUND).await.unwrap();
    assert_eq!(namespace.departures().len(), 2);
}
