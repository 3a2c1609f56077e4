//! What duplicates get, in both modes, in one pod and across two.

use std::time::{Duration, Instant};

use database::{DatabaseUrl, Sqlite};
use futures_util::future::join_all;
use proto::{Failure, Reason, order::v1::OnDuplicate};
use sqlx::ConnectOptions;
use tonic::Code;

use crate::{
    accounts::{Asked, Mood},
    support::{account, claim_in_orders},
    world::{World, order, reason},
};

const CROWD: usize = 200;

fn is_reserve(asked: &Asked) -> bool {
    matches!(asked, Asked::Reserve { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_replays_gets_one_answer() {
    let world = World::start(Mood::Accept, 2, &[]).await;
    let calls = (0..CROWD).map(|n| world.pods[n % 2].place(order("k", "10", OnDuplicate::Replay)));
    let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(
        answers.iter().all(|a| (&a.order, &a.payment) == (&answers[0].order, &answers[0].payment))
    );
    assert_eq!(world.accounts.reserve_ids().len(), 1);
    assert_eq!(world.store().list_orders(&[(account(1), None, 9)]).await.unwrap()[0].len(), 1);
}

/// Where keys are rows of their orders, also what is refused is told to all.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_gets_one_answer_where_its_key_is_in_the_orders_row() {
    claim_in_orders();
    for (mood, orders) in [(Mood::Accept, 1), (Mood::Decline, 0)] {
        let world = World::start(mood, 2, &[]).await;
        let place = |n: usize| world.pods[n % 2].place(order("k", "10", OnDuplicate::Replay));
        let answers = join_all((0..CROWD).map(place)).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), orders * CROWD);
        let mut told: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.map_err(|status| Failure::of(&status).unwrap().reason()))
            .collect();
        told.iter_mut().flatten().for_each(|reply| reply.replayed = false);
        assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
        let listed = world.store().list_orders(&[(account(1), None, 9)]).await.unwrap();
        assert_eq!(listed[0].len(), orders);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_crowd_that_rejects_one_is_placed_and_the_others_refused() {
    let world = World::start(Mood::Accept, 2, &[]).await;
    let calls = (0..CROWD).map(|n| world.pods[n % 2].place(order("k", "10", OnDuplicate::Reject)));
    let mut placed = 0;
    for answer in join_all(calls).await {
        match answer {
            Ok(reply) => {
                assert!(!reply.replayed);
                placed += 1;
            }
            Err(status) => {
                let reason = Failure::of(&status).unwrap().reason();
                let duplicate = [Reason::DuplicatePaymentRequest, Reason::PaymentAlreadyProcessed];
                assert!(duplicate.contains(&reason), "{status:?}");
            }
        }
    }
    assert_eq!(placed, 1);
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn a_duplicate_that_replays_waits_for_the_first_in_the_other_pod() {
    let world = World::start(Mood::Silent, 2, &[]).await;
    let mut first = world.pods[0].orders.clone();
    let first =
        tokio::spawn(async move { first.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    let second = world.pods[1].place(order("k", "10", OnDuplicate::Replay));
    let (second, ()) = tokio::join!(second, async { world.accounts.set(Mood::Accept) });
    let first = first.await.unwrap().unwrap().into_inner();
    let second = second.unwrap();
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!((first.order, first.payment), (second.order, second.payment));
}

#[tokio::test]
async fn a_replay_whose_wait_ends_without_an_answer_gets_a_code_that_retry_policies_retry() {
    let world = World::start(Mood::Silent, 2, &[]).await;
    let mut first = world.pods[0].orders.clone();
    tokio::spawn(async move { first.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    for pod in &world.pods {
        let asked = Instant::now();
        let timeout = Duration::from_secs(2);
        let late = pod.place_within(order("k", "10", OnDuplicate::Replay), timeout).await;
        let late = late.unwrap_err();
        let failure = Failure::of(&late).unwrap();
        assert_eq!((late.code(), failure.reason()), (Code::Unavailable, Reason::OutcomeUnknown));
        // Set together with RetryInfo.
        assert!(late.metadata().contains_key("grpc-retry-pushback-ms"), "{late:?}");
        assert!(asked.elapsed() < timeout, "{:?}", asked.elapsed());

        // Who wants to be refused is told of the first request, at once.
        let refused = pod.place_within(order("k", "10", OnDuplicate::Reject), timeout).await;
        assert_eq!(reason(refused), Reason::DuplicatePaymentRequest);
    }
    world.accounts.set(Mood::Accept);
}

#[tokio::test]
async fn while_nobody_knows_whose_a_key_is_nobody_is_told_that_it_is_in_progress() {
    let world = World::start(Mood::Accept, 1, &[]).await;
    let DatabaseUrl::Sqlite(path) = &world.place.url else {
        unreachable!("the world is on SQLite")
    };
    let mut writer = Sqlite::options(path).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    // The claim waits for the writer for longer than its callers do.
    let timeout = Duration::from_secs(2);
    let modes = [OnDuplicate::Replay, OnDuplicate::Replay, OnDuplicate::Reject];
    let calls = modes.map(|mode| world.pods[0].place_within(order("k", "10", mode), timeout));
    for answer in join_all(calls).await {
        assert_eq!(reason(answer), Reason::OutcomeUnknown);
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut writer).await.unwrap();
    let placed = world.pods[0].place(order("k", "10", OnDuplicate::Replay)).await.unwrap();
    assert!(placed.order.is_some());
    assert!(world.accounts.reserve_ids().len() <= 1);
}

#[tokio::test]
async fn a_pod_that_leaves_sends_those_away_who_wait_for_another_pod() {
    let mut world = World::start(Mood::Silent, 2, &[]).await;
    let mut first = world.pods[0].orders.clone();
    tokio::spawn(async move { first.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    let leaving = world.pods.remove(1);
    let mut waits = leaving.orders.clone();
    let waits =
        tokio::spawn(async move { waits.place_order(order("k", "10", OnDuplicate::Replay)).await });
    tokio::task::yield_now().await;
    // On the same connection and behind it: once this one is answered, the pod has the other, too.
    let refused = leaving.place(order("k", "10", OnDuplicate::Reject)).await;
    assert_eq!(reason(refused), Reason::DuplicatePaymentRequest);
    let asked = Instant::now();
    let summary = leaving.stop().await;
    assert!(!summary.forced, "{summary:?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let sent_away = waits.await.unwrap().unwrap_err();
    assert_eq!(Failure::of(&sent_away).unwrap().reason(), Reason::OutcomeUnknown);
    world.accounts.set(Mood::Accept);
}

#[tokio::test]
async fn another_request_under_a_key_is_refused_whatever_state_the_key_is_in() {
    let world = World::start(Mood::Silent, 2, &[]).await;
    let mut first = world.pods[0].orders.clone();
    let first =
        tokio::spawn(async move { first.place_order(order("k", "10", OnDuplicate::Replay)).await });
    world.accounts.wait_for(is_reserve).await;
    for settled in [false, true] {
        for pod in &world.pods {
            for on_duplicate in [OnDuplicate::Replay, OnDuplicate::Reject] {
                let reused = pod.place(order("k", "11", on_duplicate)).await;
                assert_eq!(reason(reused), Reason::IdempotencyKeyReused, "settled: {settled}");
            }
        }
        world.accounts.set(Mood::Accept);
        world.accounts.wait_for(|asked| settled || matches!(asked, Asked::Capture { .. })).await;
    }
    first.await.unwrap().unwrap();
    assert_eq!(world.accounts.reserve_ids().len(), 1);
}

#[tokio::test]
async fn a_done_key_is_refused_with_its_order_or_replayed_as_the_configuration_says() {
    let mut world = World::start(Mood::Accept, 1, &["--on-duplicate=reject"]).await;
    world.add_pod(&["--on-duplicate=replay"]).await;
    let first = world.pods[0].place(order("k", "10", OnDuplicate::Unspecified)).await.unwrap();
    let refused = world.pods[0].place(order("k", "10", OnDuplicate::Unspecified)).await;
    let failure = Failure::of(&refused.unwrap_err()).unwrap();
    assert_eq!(failure.reason(), Reason::PaymentAlreadyProcessed);
    let order_id = first.order.as_ref().map(|order| order.order_id.as_str());
    assert_eq!(failure.fact("order_id"), order_id);
    let replay = world.pods[1].place(order("k", "10", OnDuplicate::Unspecified)).await.unwrap();
    assert!(replay.replayed);
    assert_eq!((first.order, first.payment), (replay.order, replay.payment));
}
