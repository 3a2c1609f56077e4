//! What the account service is told, and what is finished for those who cannot.

use std::{collections::HashSet, time::Duration};

use database::Sqlite;
use order_service::order::Action;
use proto::{
    Reason,
    order::v1::{CancelOrderRequest, OnDuplicate, OrderStatus, PlaceOrderRequest},
};

use crate::{
    accounts::{Asked, Mood, Refunds},
    support::{OVER, amount, claim, product},
    world::{World, order, reason},
};

#[tokio::test]
async fn a_placed_order_is_captured_and_a_cancelled_one_refunded_once() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    let placed = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    let order_id = placed.order.unwrap().order_id;
    let reserve_id = order_id.clone();
    for _ in 0..3 {
        let cancel = CancelOrderRequest { account_id: 1, order_id: order_id.clone() };
        let reply = world.pods[0].orders.clone().cancel_order(cancel).await.unwrap().into_inner();
        assert_eq!(reply.order.unwrap().status(), OrderStatus::Cancelled);
    }
    let refund_id = reserve_id.clone();
    let refund = Asked::Refund { reserve_id: reserve_id.clone(), refund_id, amount: "10".into() };
    world.accounts.wait_for(|asked| *asked == refund).await;
    let asked = world.accounts.asked();
    let capture =
        asked.iter().position(|a| *a == Asked::Capture { reserve_id: reserve_id.clone() });
    let refunded = asked.iter().position(|asked| *asked == refund);
    assert!(capture.unwrap() < refunded.unwrap(), "{asked:?}");
    assert_eq!(asked.iter().filter(|asked| **asked == refund).count(), 1);
}

/// The account pods are rolled after the order pods: a rest that the old ones do not understand is asked for again.
#[tokio::test]
async fn the_rest_is_asked_for_until_an_account_pod_knows_what_that_is() {
    let world = World::start(Mood::Accept, 1, &["--settle-lease=50ms"]).await;
    world.accounts.refund(Refunds::Old);
    let placed = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    let order_id = placed.order.unwrap().order_id;
    let cancel = CancelOrderRequest { account_id: 1, order_id: order_id.clone() };
    world.pods[0].orders.clone().cancel_order(cancel).await.unwrap();

    while rests(&world, &order_id).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let waiting = world.store().waiting(None, 10).await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!((waiting[0].notice.action, &waiting[0].refused), (Action::Refund, &None));

    world.accounts.refund(Refunds::Rest);
    while !world.store().waiting(None, 10).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Each time under an id that nobody can have taken.
    let rests = rests(&world, &order_id);
    let distinct: HashSet<_> = rests.iter().collect();
    assert_eq!(distinct.len(), rests.len(), "{rests:?}");
    assert!(rests.iter().all(|id| id.starts_with(&format!("{order_id}:cancel:"))), "{rests:?}");
}

/// The refund_ids under which the rest was asked for.
fn rests(world: &World, order_id: &str) -> Vec<String> {
    let rest = |asked| match asked {
        Asked::Refund { reserve_id, refund_id, amount } if amount.is_empty() => {
            assert_eq!(reserve_id, order_id);
            Some(refund_id)
        }
        Asked::Reserve { .. }
        | Asked::Capture { .. }
        | Asked::Release { .. }
        | Asked::Refund { .. } => None,
    };
    world.accounts.asked().into_iter().filter_map(rest).collect()
}

#[tokio::test]
async fn a_sold_out_order_is_released_and_refused_again() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    world.store().put_products(&[product(7, "10", 1)]).await.unwrap();
    let request = PlaceOrderRequest {
        lines: vec![proto::order::v1::OrderLine { product_id: 7, quantity: 2 }],
        ..order("k", "", OnDuplicate::Replay)
    };
    for _ in 0..2 {
        assert_eq!(reason(world.pods[0].place(request.clone()).await), Reason::OutOfStock);
    }
    world.accounts.wait_for(|asked| matches!(asked, Asked::Release { .. })).await;
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn a_key_that_a_dead_process_left_is_finished_without_being_asked_for() {
    let world = World::start(Mood::Accept, 0, &[]).await;
    let left = claim(&mut world.place.store::<Sqlite>(OVER), &amount(1, "k", "10")).await;
    let mut world = world;
    world.add_pod(&["--complete-interval=50ms"]).await;
    let reserve_id = left.order_id.to_string();
    world
        .accounts
        .wait_for(|asked| *asked == Asked::Capture { reserve_id: reserve_id.clone() })
        .await;
    assert_eq!(world.accounts.reserve_ids(), [reserve_id]);
    let replay = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    assert!(replay.replayed);
    assert!(world.store().verify().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_cannot_be_decided_is_given_up_and_released() {
    let flags = [
        "--lease=200ms",
        "--account-timeout=100ms",
        "--complete-interval=50ms",
        "--give-up-after=1s",
    ];
    let world = World::start(Mood::Silent, 1, &flags).await;
    let unknown = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await;
    assert_eq!(reason(unknown), Reason::OutcomeUnknown);
    world.accounts.wait_for(|asked| matches!(asked, Asked::Release { .. })).await;
    world.accounts.set(Mood::Accept);
    let given_up = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await;
    assert_eq!(reason(given_up), Reason::PaymentFailed);
    assert!(world.store().verify().await.unwrap().is_empty());
}
