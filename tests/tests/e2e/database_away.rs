//! The database goes away and comes back: honest errors meanwhile, no restart afterwards.

use std::time::Duration;

use tests::cluster::Plan;
use tonic::Code;

use crate::load::{Load, persist};
use crate::support::{Backend, World, order};

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_a_pod_says_unavailable_and_recovers_by_itself() {
    let mut world = World::start(Backend::Postgres, Plan::default()).await;
    world.account(7, "100").await;
    persist(&world.clients, 0, order(7, "before", "10")).await;
    world.postgres.as_mut().unwrap().kill().unwrap();

    let refused = world.place(0, order(7, "meanwhile", "10"), DEADLINE).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let refused = world.read_account(7).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    for internal in ["sql", "postgres", "127.0.0.1", "connection refused"] {
        let told = format!("{refused:?}").to_lowercase();
        assert!(!told.contains(internal), "{internal} leaked: {told}");
    }
    let cluster = &mut world.cluster;
    for pod in cluster.order.iter_mut().chain(&mut cluster.account) {
        pod.wait_health(503).await.unwrap();
        assert_eq!(pod.get("/q/health/live").await.unwrap().0, 200, "{}", pod.name());
    }

    world.postgres.as_mut().unwrap().start_again().await.unwrap();
    let cluster = &mut world.cluster;
    for pod in cluster.order.iter_mut().chain(&mut cluster.account) {
        pod.wait_ready().await.unwrap();
    }
    persist(&world.clients, 0, order(7, "meanwhile", "10")).await;
    assert_eq!(world.settled_account(7).await.balance, "80");
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_without_its_database_becomes_ready_when_it_comes() {
    let mut world = World::start(Backend::Postgres, Plan::default()).await;
    world.account(7, "100").await;
    world.cluster.stop().unwrap();
    world.postgres.as_mut().unwrap().stop().unwrap();
    for pod in world.cluster.account.iter_mut().chain(&mut world.cluster.order) {
        pod.restart().unwrap();
        pod.wait_health(503).await.unwrap();
    }
    world.postgres.as_mut().unwrap().start_again().await.unwrap();
    for pod in world.cluster.account.iter_mut().chain(&mut world.cluster.order) {
        pod.wait_ready().await.unwrap();
    }
    persist(&world.clients, 0, order(7, "key", "10")).await;
    assert_eq!(world.settled_account(7).await.balance, "90");
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_crash_of_the_database() {
    let mut world = World::start(Backend::Postgres, Plan::default()).await;
    let load = Load::start(&world).await;
    let postgres = world.postgres.as_mut().unwrap();
    postgres.kill().unwrap();
    postgres.start_again().await.unwrap();
    load.check(&world).await;
    world.stop_and_verify().await;
}
