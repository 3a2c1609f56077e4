//! The matrix of duplicates: however many, on however many pods, with Redis up, away, silent or none, with a request
//! among them that differs, and with a pod that is killed midway: one key, one order.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use proto::Reason;
use tests::redis::Redis;

use crate::scene::Scene;
use crate::world::{Backend, PRICE, World};

/// Callers at once. Crowds of 1,000 are in the demo's table, which the end-to-end tests run.
const CROWDS: [usize; 2] = [10, 100];

/// What the differing request wants to pay.
const OTHER: &str = "11";

/// When a pod is killed: some callers have their answer by then, most do not.
const MIDWAY: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    Absent,
    Up,
    Silent,
    Away,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    callers: usize,
    pods: usize,
    one_differs: bool,
    killed: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let each = |callers| {
            [1, 2].into_iter().flat_map(move |pods| {
                [(false, false), (false, true), (true, false), (true, true)]
                    .map(move |(one_differs, killed)| Self { callers, pods, one_differs, killed })
            })
        };
        CROWDS.into_iter().flat_map(each)
    }

    fn key(self) -> String {
        format!("{self:?}").replace(' ', "")
    }
}

/// Answers what the order cost.
async fn run(world: &mut World, case: Case) -> String {
    let key = case.key();
    let channels: Vec<_> = (0..case.pods).map(|pod| world.lazily(pod)).collect();
    let asks = (0..case.callers).map(|caller| {
        let mut request = Scene::Order.request(&key);
        if case.one_differs && caller == case.callers / 2 {
            request.amount = OTHER.to_owned();
        }
        let channel = channels[caller % case.pods].clone();
        tokio::spawn(async move { crate::world::persist(channel, &request).await })
    });
    let asks: Vec<_> = asks.collect();
    if case.killed {
        tokio::time::sleep(MIDWAY).await;
        world.cluster.order[0].kill().unwrap();
        world.cluster.order[0].restart().unwrap();
    }
    let answers = join_all(asks).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    world.cluster.order[0].wait_ready().await.unwrap();
    let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let told: BTreeSet<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().ok()?.order.as_ref())
        .map(|order| (order.order_id.clone(), order.amount.clone()))
        .collect();
    assert_eq!(told.len(), 1, "{case:?}: {told:?}");
    assert!(refused.iter().all(|reason| **reason == Reason::IdempotencyKeyReused), "{case:?}");
    // Whoever claims the key first owns it: the one that differs, or all the others.
    let (order_id, amount) = told.into_iter().next().unwrap();
    let expected = match (case.one_differs, amount == OTHER) {
        (true, true) => case.callers - 1,
        (true, false) => 1,
        (false, _) => 0,
    };
    assert_eq!(refused.len(), expected, "{case:?}");
    let orders = world.orders_of_key(&key).await;
    assert_eq!(orders, [order_id], "{case:?}");
    amount
}

/// All cases with one kind of guard, one after the other.
async fn one_key_one_order(guard: Guard) {
    let mut redis = Redis::start().await.unwrap();
    let flags = ["--redis-url".to_owned(), redis.url()];
    let flags: Vec<&str> = match guard {
        Guard::Absent => Vec::new(),
        Guard::Up | Guard::Silent | Guard::Away => flags.iter().map(String::as_str).collect(),
    };
    let mut world = World::start(Backend::Sqlite, 2, &flags).await;
    match guard {
        Guard::Absent | Guard::Up => {}
        Guard::Silent => redis.freeze(),
        Guard::Away => redis.kill().unwrap(),
    }
    let mut spent = 0;
    for case in Case::all() {
        let cost = run(&mut world, case).await;
        spent += if cost == OTHER { PRICE + 1 } else { PRICE };
    }
    redis.thaw();
    world.check_books().await;
    assert_eq!(world.account().await.balance, (crate::world::OPENING - spent).to_string());
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_without_redis() {
    one_key_one_order(Guard::Absent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_redis() {
    one_key_one_order(Guard::Up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_a_silent_redis() {
    one_key_one_order(Guard::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_one_order_with_redis_away() {
    one_key_one_order(Guard::Away).await;
}
