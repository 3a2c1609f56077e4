//! What bounds a connection.

use std::time::{Duration, Instant};

use server::ServeConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{Client, FOR_EVER, Pod};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_silent_connection_is_dropped_at_the_handshake_deadline() {
    let config = ServeConfig { handshake_timeout: SOON, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let mut silent = TcpStream::connect(pod.address).await.unwrap();
    let began = Instant::now();
    let read = timeout(FOR_EVER, silent.read(&mut [0; 1])).await.expect("never dropped");
    assert_eq!(read.unwrap(), 0);
    assert!(began.elapsed() >= SOON / 2, "dropped after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_leaves_at_its_age_and_its_calls_finish() {
    let config = ServeConfig { connection_age: SOON, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    pod.wait_running(1).await;
    // Past its age the connection takes no new stream: h2 refuses once it has seen GOAWAY.
    crate::support::until("GOAWAY", async || client.call("Do", "x", &[]).await.is_err()).await;
    pod.open_gate();
    assert_eq!(call.await.unwrap().unwrap().code, Code::Ok);
    assert!(client.gone().await);
}

#[tokio::test]
async fn past_the_grace_an_aged_connection_is_cut_off_and_counted() {
    let config = ServeConfig {
        connection_age: SOON,
        connection_age_grace: SOON,
        lame_duck: Duration::ZERO,
        ..ServeConfig::default()
    };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    assert!(call.await.unwrap().is_err());
    pod.wait_running(0).await;
    pod.trigger.fire();
    let summary = pod.left(Duration::from_secs(1)).await;
    assert_eq!((summary.connections_cut, summary.calls_cut, summary.forced), (1, 1, false));
}

#[tokio::test]
async fn an_idle_connection_is_asked_to_leave() {
    let config = ServeConfig { connection_idle: SOON, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    assert!(client.gone().await);
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let config = ServeConfig { max_connections: 1, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    let mut refused = TcpStream::connect(pod.address).await.unwrap();
    let read = timeout(FOR_EVER, refused.read(&mut [0; 1])).await.expect("never closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
}
