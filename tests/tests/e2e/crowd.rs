//! Document B's crowds, as the demo runs them.

use tests::cluster::Plan;
use tests::document_b;

use crate::support::{Backend, World};

async fn every_crowd_makes_one_order(backend: Backend) {
    let mut world = World::start(backend, Plan::default()).await;
    let report = document_b::run_all(&world.clients, 1).await.unwrap();
    assert!(report.ok, "{}\n{report:#?}", document_b::table(&report));
    assert_eq!(report.runs.len(), 6);
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_crowd_makes_one_order_on_sqlite() {
    every_crowd_makes_one_order(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_crowd_makes_one_order_on_postgresql() {
    every_crowd_makes_one_order(Backend::Postgres).await;
}
