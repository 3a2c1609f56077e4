//! Real signals to real pods: in order after the first, at once after the second, and the exit
//! code says which.

use std::time::{Duration, Instant};

use proto::order::v1::PlaceOrderReply;
use tests::cluster::{Plan, Pod};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::support::{Backend, World, order, place, until};

/// The exit code of a server that did not wait for everything.
const FORCED: i32 = 3;

fn flags(lame_duck: &str, drain_timeout: &str) -> Vec<String> {
    ["--lame-duck", lame_duck, "--drain-timeout", drain_timeout].map(str::to_owned).to_vec()
}

/// A call that runs on the first order pod for as long as the account pods are frozen.
async fn call_that_hangs(world: &World) -> JoinHandle<Result<PlaceOrderReply, Status>> {
    world.account(7, "100").await;
    world.cluster.account.iter().for_each(Pod::freeze);
    let (clients, request) = (world.clients.clone(), order(7, "key", "10"));
    let call =
        tokio::spawn(async move { place(&clients, 0, request, Duration::from_secs(30)).await });
    let runs = async || {
        let (_, metrics) = world.cluster.order[0].get("/q/metrics").await.unwrap();
        metrics.contains("\ngrpc_server_calls_in_flight 1\n")
    };
    until("the call runs", runs).await;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_sigterm_ends_a_pod_at_once_and_the_exit_code_says_so() {
    let plan = Plan { order_flags: flags("1h", "1h"), ..Plan::default() };
    let mut world = World::start(Backend::Sqlite, plan).await;
    let pod = &mut world.cluster.order[0];
    pod.terminate();
    pod.wait_health(503).await.unwrap();
    let began = Instant::now();
    pod.terminate();
    assert_eq!(pod.wait_exit().unwrap().code(), Some(FORCED));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_end_is_cut_off_at_the_bound_and_the_exit_code_says_so() {
    let plan = Plan { order_flags: flags("0s", "500ms"), ..Plan::default() };
    let mut world = World::start(Backend::Sqlite, plan).await;
    let call = call_that_hangs(&world).await;
    let pod = &mut world.cluster.order[0];
    pod.terminate();
    assert_eq!(pod.wait_exit().unwrap().code(), Some(FORCED));
    assert!(call.await.unwrap().is_err());
    world.cluster.account.iter().for_each(Pod::thaw);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sigterm_lets_a_call_finish_and_the_exit_code_is_clean() {
    let mut world = World::start(Backend::Sqlite, Plan::default()).await;
    let call = call_that_hangs(&world).await;
    world.cluster.order[0].terminate();
    world.cluster.order[0].wait_health(503).await.unwrap();
    world.cluster.account.iter().for_each(Pod::thaw);
    assert!(call.await.unwrap().is_ok());
    world.cluster.order[0].wait_gone().unwrap();
}
