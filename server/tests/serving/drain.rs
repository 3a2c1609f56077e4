//! Leaving in order, and within the bound whatever clients do.

use std::time::{Duration, Instant};

use server::ServeConfig;
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{Client, Pod, until};

fn config(lame_duck_ms: u64, drain_timeout_ms: u64) -> ServeConfig {
    ServeConfig {
        lame_duck: Duration::from_millis(lame_duck_ms),
        drain_timeout: Duration::from_millis(drain_timeout_ms),
        ..ServeConfig::default()
    }
}

#[tokio::test]
async fn the_lame_duck_says_no_but_serves_then_the_listener_closes_and_calls_finish() {
    let pod = Pod::start(config(600, 10_000)).await;
    pod.wait_ready(200).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    pod.wait_running(1).await;

    pod.trigger.fire();
    pod.wait_ready(503).await;
    let late = Client::connect(pod.address).await;
    assert_eq!(late.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    let (status, live) = pod.get("/q/health/live").await;
    assert_eq!((status, live.as_str()), (200, "{\"status\":\"UP\",\"checks\":[]}"));
    assert!(late.gone().await);

    until("listener closed", async || TcpStream::connect(pod.address).await.is_err()).await;
    assert!(!call.is_finished());
    pod.open_gate();
    assert_eq!(call.await.unwrap().unwrap().code, Code::Ok);
    assert!(client.gone().await);
    let summary = pod.left(Duration::from_secs(1)).await;
    assert_eq!((summary.calls_answered, summary.calls_drained), (2, 2));
    assert_eq!((summary.calls_cut, summary.forced), (0, false));
}

#[tokio::test]
async fn goaways_are_spread_over_the_lame_duck() {
    let pod = Pod::start(config(2_000, 10_000)).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let client = Client::connect(pod.address).await;
        assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
        clients.push(client);
    }
    let began = Instant::now();
    pod.trigger.fire();
    let leaving = clients.into_iter().map(|client| async move {
        assert!(client.gone().await);
        began.elapsed()
    });
    let mut left = futures_util::future::join_all(leaving).await;
    left.sort();
    assert!(left[0] >= Duration::from_millis(500), "before the head start: {left:?}");
    let (early, late) = (Duration::from_millis(1_000), Duration::from_millis(1_500));
    assert!(left.iter().filter(|at| **at < early).count() >= 3, "{left:?}");
    assert!(left.iter().filter(|at| **at > late).count() >= 3, "{left:?}");
    assert!(!pod.left(Duration::from_secs(2)).await.forced);
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off_at_the_bound_and_counted() {
    let pod = Pod::start(config(0, 200)).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    pod.wait_running(1).await;
    pod.trigger.fire();
    let summary = pod.left(Duration::from_millis(200)).await;
    assert!(call.await.unwrap().is_err());
    assert_eq!((summary.connections_cut, summary.calls_cut, summary.forced), (1, 1, true));
    assert!(summary.took >= Duration::from_millis(200), "{summary:?}");
}

#[tokio::test]
async fn the_second_signal_leaves_at_once_even_in_the_lame_duck() {
    let pod = Pod::start(config(60_000, 60_000)).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    pod.wait_running(1).await;
    pod.trigger.fire();
    pod.wait_ready(503).await;
    pod.trigger.fire();
    let summary = pod.left(Duration::ZERO).await;
    assert!(call.await.unwrap().is_err());
    assert_eq!((summary.calls_cut, summary.forced), (1, true));
}

#[tokio::test]
async fn a_half_open_handshake_does_not_hold_the_exit() {
    let pod =
        Pod::start(ServeConfig { handshake_timeout: Duration::from_secs(60), ..config(0, 30_000) })
            .await;
    let silent = TcpStream::connect(pod.address).await.unwrap();
    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    pod.trigger.fire();
    let summary = pod.left(Duration::from_secs(1)).await;
    assert!(!summary.forced, "{summary:?}");
    drop(silent);
}

#[tokio::test]
async fn a_health_watch_is_sent_away_and_does_not_hold_the_exit() {
    let pod = Pod::start(config(0, 30_000)).await;
    let client = Client::connect(pod.address).await;
    let watch = client.spawn("/grpc.health.v1.Health/Watch", "");
    pod.wait_ready(200).await;
    pod.trigger.fire();
    let summary = pod.left(Duration::from_secs(1)).await;
    assert!(!summary.forced, "{summary:?}");
    assert_eq!(summary.calls_answered, 0);
    assert_eq!(watch.await.unwrap().unwrap().code, Code::Ok);
}

#[tokio::test]
async fn an_endless_stream_is_cut_off_at_the_bound() {
    let pod = Pod::start(config(0, 200)).await;
    let client = Client::connect(pod.address).await;
    let stream = client.spawn("Stream", "wait");
    pod.wait_running(1).await;
    pod.trigger.fire();
    let summary = pod.left(Duration::from_millis(200)).await;
    assert!(stream.await.unwrap().is_err());
    assert_eq!((summary.calls_cut, summary.forced), (1, true));
}

#[tokio::test]
async fn a_peer_that_has_stopped_reading_does_not_spend_the_drain() {
    let pod = Pod::start(config(0, 30_000)).await;
    let mut stopped = TcpStream::connect(pod.address).await.unwrap();
    let preface_and_settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut stopped, preface_and_settings).await.unwrap();
    let mut settings = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut stopped, &mut settings).await.unwrap();
    pod.trigger.fire();
    let summary = pod.left(Duration::from_secs(2)).await;
    assert_eq!((summary.calls_cut, summary.forced), (0, false));
}
