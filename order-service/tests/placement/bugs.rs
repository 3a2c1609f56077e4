//! Classic bugs of idempotent services, each tried here by its name.

use std::time::{Duration, Instant};

use database::{DatabaseUrl, Sqlite};
use order_service::order::key::KeyState;
use proto::{Reason, order::v1::OnDuplicate};
use sqlx::ConnectOptions;

use crate::{
    accounts::{Asked, Mood},
    support::{account, key},
    world::{World, order, reason},
};

fn is_reserve(asked: &Asked) -> bool {
    matches!(asked, Asked::Reserve { .. })
}

#[tokio::test]
async fn bug_3_a_duplicate_does_not_wait_for_the_whole_work() {
    let world = World::start(Mood::Silent, 2, &[]).await;
    let pods = (world.pods[0].orders.clone(), &world.pods[1]);
    let mut first = pods.0;
    let first =
        tokio::spawn(async move { first.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    let asked = Instant::now();
    let refused = pods.1.place(order("k", "10", OnDuplicate::Reject)).await;
    assert_eq!(reason(refused), Reason::DuplicatePaymentRequest);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    world.accounts.set(Mood::Accept);
    assert!(!first.await.unwrap().unwrap().into_inner().replayed);
}

#[tokio::test]
async fn bug_4_the_key_is_stored_before_the_account_service_is_called() {
    let world = World::start(Mood::Silent, 1, &[]).await;
    let mut orders = world.pods[0].orders.clone();
    tokio::spawn(async move { orders.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    let row = world.store().keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.state, KeyState::Running { lease_over: false });
    assert_eq!(world.accounts.reserve_ids(), [row.claim.order_id.to_string()]);
    world.accounts.set(Mood::Accept);
}

#[tokio::test]
async fn bug_5_every_attempt_reserves_under_one_id_and_bug_7_none_waits_for_a_lease() {
    let world = World::start(Mood::Confused, 2, &[]).await;
    for pod in [0, 1, 0] {
        let unknown = world.pods[pod].place(order("k", "10", OnDuplicate::Replay)).await;
        assert_eq!(reason(unknown), Reason::OutcomeUnknown);
    }
    world.accounts.set(Mood::Accept);
    let asked = Instant::now();
    let placed = world.pods[1].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "waited for a lease: {:?}", asked.elapsed());
    let order_id = placed.order.unwrap().order_id;
    let ids = world.accounts.reserve_ids();
    assert!(ids.len() >= 4 && ids.iter().all(|id| *id == order_id), "{ids:?}");
}

#[tokio::test]
async fn bug_6_a_decline_stays_a_decline_when_money_comes() {
    let world = World::start(Mood::Decline, 2, &[]).await;
    for (pod, mood) in [(0, Mood::Decline), (0, Mood::Accept), (1, Mood::Accept)] {
        world.accounts.set(mood);
        for on_duplicate in [OnDuplicate::Replay, OnDuplicate::Reject] {
            let declined = world.pods[pod].place(order("k", "10", on_duplicate)).await;
            assert_eq!(reason(declined), Reason::PaymentFailed);
        }
    }
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn bug_10_when_a_keys_row_is_gone_its_order_answers_and_nothing_runs() {
    let world = World::start(Mood::Accept, 2, &[]).await;
    let first = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    let DatabaseUrl::Sqlite(path) = &world.place.url else { unreachable!("a SQLite test") };
    let mut connection = Sqlite::options(path).connect().await.unwrap();
    sqlx::query("DELETE FROM idempotency_keys").execute(&mut connection).await.unwrap();
    for pod in [0, 1, 0] {
        let pod = &world.pods[pod];
        let other = pod.place(order("k", "11", OnDuplicate::Replay)).await;
        assert_eq!(reason(other), Reason::IdempotencyKeyReused);
        let again = pod.place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
        assert!(again.replayed);
        assert_eq!((&again.order, &again.payment), (&first.order, &first.payment));
        let refused = pod.place(order("k", "10", OnDuplicate::Reject)).await;
        assert_eq!(reason(refused), Reason::PaymentAlreadyProcessed);
    }
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn bug_14_an_order_is_placed_though_its_caller_left() {
    let world = World::start(Mood::Silent, 1, &[]).await;
    let mut orders = world.pods[0].orders.clone();
    let caller =
        tokio::spawn(
            async move { orders.place_order(order("k", "10", OnDuplicate::Replay)).await },
        );
    world.accounts.wait_for(is_reserve).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    world.accounts.set(Mood::Accept);
    world.accounts.wait_for(|asked| matches!(asked, Asked::Capture { .. })).await;
    let replay = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    assert!(replay.replayed);
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn bug_14_a_stopping_pod_finishes_orders_whose_callers_left() {
    let mut world = World::start(Mood::Silent, 1, &[]).await;
    let mut orders = world.pods[0].orders.clone();
    let caller =
        tokio::spawn(
            async move { orders.place_order(order("k", "10", OnDuplicate::Replay)).await },
        );
    world.accounts.wait_for(is_reserve).await;
    caller.abort();
    let stopping = tokio::spawn(world.pods.remove(0).stop());
    world.accounts.set(Mood::Accept);
    stopping.await.unwrap();
    let row = world.store().keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert!(matches!(row.state, KeyState::Decided(_)), "{row:?}");
}
