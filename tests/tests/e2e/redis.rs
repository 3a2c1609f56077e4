//! Redis is killed, stopped, flushed and filled with stale locks: the same answers, and a bounded wait for it.

use std::time::Duration;

use tests::cluster::{Plan, Pod};
use tests::document_b;
use tests::redis::Redis;

use crate::load::{CALLERS, Load};
use crate::support::{Backend, World, until};

/// How long each trouble lasts that does not pass by itself.
const TROUBLE: Duration = Duration::from_secs(10);

/// Looks that may fail on a pod in one trouble: those that open the breaker, those under way at that
/// moment (each caller of [`Load`] has one), and a probe a second. Each takes 5 ms at most.
const FAILED_LOOKS_MAX: f64 = 5.0 + CALLERS as f64 + 2.0 * TROUBLE.as_secs() as f64;

async fn world(redis: &Redis) -> World {
    let order_flags = vec!["--redis-url".to_owned(), redis.url()];
    World::start(Backend::Sqlite, Plan { order_flags, ..Plan::default() }).await
}

async fn looks(pod: &Pod, outcome: &str) -> f64 {
    pod.counter("order_guard_looks_total", &[("outcome", outcome)]).await
}

async fn looks_everywhere(world: &World, outcome: &str) -> f64 {
    let mut sum = 0.0;
    for pod in &world.cluster.order {
        sum += looks(pod, outcome).await;
    }
    sum
}

/// Redis was asked, then was not, and was asked again; and nobody waited for it for long.
async fn check_trouble_passed(world: &World) {
    until("Redis to be asked again", async || {
        let mut closed = 0.0;
        for pod in &world.cluster.order {
            closed += pod.counter("order_guard_breaker_total", &[("change", "closed")]).await;
        }
        closed >= 2.0
    })
    .await;
    for pod in &world.cluster.order {
        assert!(looks(pod, "first").await > 0.0, "{} never asked Redis", pod.name());
        assert!(looks(pod, "skipped").await > 0.0, "{} asked all the time", pod.name());
        let failed = looks(pod, "late").await + looks(pod, "error").await;
        assert!((1.0..=FAILED_LOOKS_MAX).contains(&failed), "{}: {failed} failed", pod.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_changes_no_answer() {
    let mut redis = Redis::start().await.unwrap();
    let mut world = world(&redis).await;
    let load = Load::start(&world).await;
    until("a look", async || looks_everywhere(&world, "first").await > 0.0).await;
    redis.kill().unwrap();
    until("the breakers", async || looks_everywhere(&world, "skipped").await > 0.0).await;
    tokio::time::sleep(TROUBLE).await;
    redis.start_again().await.unwrap();
    check_trouble_passed(&world).await;
    load.check(&world).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_silent_for_ten_seconds_changes_no_answer() {
    let redis = Redis::start().await.unwrap();
    let mut world = world(&redis).await;
    let load = Load::start(&world).await;
    until("a look", async || looks_everywhere(&world, "first").await > 0.0).await;
    redis.freeze();
    tokio::time::sleep(TROUBLE).await;
    redis.thaw();
    check_trouble_passed(&world).await;
    load.check(&world).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_everything_changes_no_answer() {
    let redis = Redis::start().await.unwrap();
    let mut world = world(&redis).await;
    let load = Load::start(&world).await;
    for _ in 0..10 {
        until("locks", async || redis.size().await.unwrap() > 0).await;
        redis.flush().await.unwrap();
    }
    load.check(&world).await;
    assert_eq!(looks_everywhere(&world, "error").await, 0.0);
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bug_13_stale_locks_stop_no_order() {
    const KEYS: usize = 2000;
    let redis = Redis::start().await.unwrap();
    let mut world = world(&redis).await;
    let load = Load::start(&world).await;
    until("a look", async || looks_everywhere(&world, "first").await > 0.0).await;
    let names = (1..=CALLERS)
        .flat_map(|account| (0..KEYS).map(move |n| format!("holdfast:order:{account}:key-{n}")));
    redis.fill(names).await.unwrap();
    let stale = async || {
        let mut sum = 0.0;
        for pod in &world.cluster.order {
            sum += pod.counter("order_guard_stale_total", &[]).await;
        }
        sum
    };
    until("stale locks to be met", async || stale().await > 100.0).await;
    load.check(&world).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_every_crowd_makes_one_order_and_duplicates_read() {
    let redis = Redis::start().await.unwrap();
    let mut world = world(&redis).await;
    let report = document_b::run_all(&world.clients, 1).await.unwrap();
    assert!(report.ok, "{}\n{report:#?}", document_b::table(&report));
    assert!(looks_everywhere(&world, "taken").await > 0.0);
    world.stop_and_verify().await;
}
