//! A dependency is away for thirty seconds: every caller is told something definite or to come back, in time; memory
//! stays bounded; and when it is back, so are the orders, by themselves.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::{Failure, Reason};
use tests::cpu::resident_bytes;
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::scene::Scene;
use crate::silence::steady;
use crate::world::{Backend, CALL, World, place, until};

/// How long it is away.
const AWAY: Duration = Duration::from_secs(30);

/// Callers, each with one request at a time. Every request leaves a key to be decided afterwards.
const CALLERS: usize = 100;

/// Above its deadline an answer is late; the machine may be busy.
const GRACE: Duration = Duration::from_secs(2);

/// What a process may grow by while everybody waits.
const GROWTH_BYTES: u64 = 128 * 1024 * 1024;

/// From its return to the first new order.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);

/// A caller that does not know must be told when to come back, and nothing of the inside.
pub(crate) fn check_answer(status: &Status, took: Duration) {
    assert!(took < CALL + GRACE, "late by far, {took:?}: {status:?}");
    if status.code() == Code::DeadlineExceeded {
        return;
    }
    let failure = Failure::of(status).unwrap_or_else(|| panic!("no reason of ours: {status:?}"));
    let passing = [Reason::OutcomeUnknown, Reason::Unavailable, Reason::Overloaded];
    assert!(passing.contains(&failure.reason()), "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
}

async fn caller(world: &World, number: usize, stop: watch::Receiver<bool>) {
    let channel = world.lazily(0);
    let mut made = 0;
    while !*stop.borrow() {
        let began = Instant::now();
        let request = Scene::Order.request(&format!("{number}-{made}"));
        made += 1;
        if let Err(status) = place(channel.clone(), request).await {
            check_answer(&status, began.elapsed());
            // As it was told to.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Answers how long the way back took.
async fn survives(
    world: &mut World,
    leave: impl FnOnce(&mut World),
    come_back: impl AsyncFnOnce(&mut World),
) -> Duration {
    world.persist(0, &Scene::Order.request("before")).await.unwrap();
    let before = resident_bytes(world.cluster.order[0].pid()).unwrap();
    leave(world);
    let (stop, stopped) = watch::channel(false);
    let callers = join_all((0..CALLERS).map(|number| caller(world, number, stopped.clone())));
    let wait = async {
        tokio::time::sleep(AWAY).await;
        stop.send_replace(true);
    };
    tokio::join!(callers, wait);
    let grown = resident_bytes(world.cluster.order[0].pid()).unwrap().saturating_sub(before);
    assert!(grown < GROWTH_BYTES, "grew by {grown} bytes");
    come_back(world).await;
    let back = Instant::now();
    world.persist(0, &Scene::Order.request("after")).await.unwrap();
    let took = back.elapsed();
    assert!(took < RECOVERY, "{took:?}");
    eprintln!("away {AWAY:?}: first order {took:?} after its return, grew by {grown} bytes");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_service_is_away_for_thirty_seconds() {
    let mut world = World::start(Backend::Postgres, 1, &[]).await;
    let leave = |world: &mut World| world.cluster.account[0].freeze();
    survives(&mut world, leave, async |world| world.cluster.account[0].thaw()).await;
    until("all keys to be decided", async || world.unfinished().await == 0).await;
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_away_for_thirty_seconds() {
    let mut world = World::start(Backend::Postgres, 2, &[]).await;
    let leave = |world: &mut World| world.ground.postgres.as_mut().unwrap().kill().unwrap();
    let come_back = async |world: &mut World| {
        world.ground.postgres.as_mut().unwrap().start_again().await.unwrap();
    };
    survives(&mut world, leave, come_back).await;
    world.check_books().await;

    // All heartbeats were old. Neither pod took the other for dead, though by now each would judge it.
    until("both pods to be steady again", async || steady(&world).await == 2).await;
    for pod in &world.cluster.order {
        assert_eq!(pod.counter("order_workers_reaped_total", &[]).await, 0.0);
    }
}
