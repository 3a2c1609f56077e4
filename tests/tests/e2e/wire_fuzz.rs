//! Requests that nobody would send. Many more of them: `cargo run --release -p tests --bin wire-fuzz`.

use tests::cluster::Plan;

use crate::support::{Backend, World};

#[tokio::test(flavor = "multi_thread")]
async fn mutated_requests_of_every_method_are_answered_and_leave_the_books_sound() {
    let plan = Plan { account_pods: 1, order_pods: 1, ..Plan::default() };
    let mut world = World::start(Backend::Sqlite, plan).await;
    let report = tests::wire_fuzz::run(&mut world.cluster, 3_000).await.unwrap();
    assert!(report.wrong.is_empty(), "{report:#?}");
    assert!(report.requests >= 3_000, "{report:?}");
    // Refused requests alone would say little.
    assert!(report.answers["Ok"] > 50 && report.answers["InvalidArgument"] > 50, "{report:?}");

    world.cluster.stop().unwrap();
    world.cluster.verify().unwrap();
}
