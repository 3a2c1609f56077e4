//! A second listener for administrative methods, and reflection that is switched off.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use server::ServeConfig;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{Client, FOR_EVER, Pod, until};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

fn two_listeners() -> ServeConfig {
    ServeConfig {
        admin_grpc_listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        lame_duck: Duration::ZERO,
        ..ServeConfig::default()
    }
}

async fn clients(pod: &Pod) -> [Client; 2] {
    let administrative = pod.admin_grpc.expect("there is a second listener");
    [Client::connect(pod.address).await, Client::connect(administrative).await]
}

async fn code(client: &Client, method: &str) -> Code {
    client.call(method, "hello", &[]).await.unwrap().code
}

#[tokio::test]
async fn each_method_is_served_on_one_of_two_ports_and_health_on_both() {
    let pod = Pod::start(two_listeners()).await;
    pod.wait_ready(200).await;
    let [public, administrative] = clients(&pod).await;
    assert_eq!(code(&public, "Do").await, Code::Ok);
    assert_eq!(code(&public, "Stream").await, Code::Unimplemented);
    assert_eq!(code(&administrative, "Do").await, Code::Unimplemented);
    assert_eq!(code(&administrative, "Stream").await, Code::Ok);
    for client in [&public, &administrative] {
        let empty = crate::support::framed(0, b"");
        assert_eq!(client.send(CHECK, empty, &[]).await.unwrap().code, Code::Ok);
        assert_eq!(code(client, "/test.Probe/Guess").await, Code::Unimplemented);
    }
}

#[tokio::test]
async fn one_listener_serves_everything() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    assert_eq!(code(&client, "Do").await, Code::Ok);
    assert_eq!(code(&client, "Stream").await, Code::Ok);
}

#[tokio::test]
async fn both_listeners_drain_together() {
    let pod = Pod::start(two_listeners()).await;
    let (address, administrative) = (pod.address, pod.admin_grpc.unwrap());
    let [public, admin] = clients(&pod).await;
    let waiting = [public.spawn("Do", "wait"), admin.spawn("Stream", "wait")];
    pod.wait_running(2).await;
    pod.trigger.fire();
    let is_closed = async |address: SocketAddr| TcpStream::connect(address).await.is_err();
    until("closed listeners", async || is_closed(address).await && is_closed(administrative).await)
        .await;

    pod.open_gate();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().code, Code::Ok);
    }
    drop((public, admin));
    let summary = pod.left(Duration::from_secs(20)).await;
    assert!(!summary.forced, "{summary:?}");
    assert_eq!((summary.calls_drained, summary.calls_cut), (2, 0));
}

#[tokio::test]
async fn a_crowd_at_one_listener_does_not_shut_the_other() {
    let pod = Pod::start(ServeConfig { max_connections: 1, ..two_listeners() }).await;
    let [public, administrative] = clients(&pod).await;
    assert_eq!(code(&public, "Do").await, Code::Ok);
    let mut refused = TcpStream::connect(pod.address).await.unwrap();
    let read = timeout(FOR_EVER, refused.read(&mut [0; 1])).await.expect("never closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert_eq!(code(&administrative, "Stream").await, Code::Ok);
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    for reflection in [true, false] {
        let pod = Pod::start(ServeConfig { reflection, ..ServeConfig::default() }).await;
        let client = Client::connect(pod.address).await;
        // It asks for nothing, which reflection refuses in its own words.
        let empty = crate::support::framed(0, b"");
        let ended = client.send(REFLECT, empty, &[]).await.unwrap();
        assert_eq!(ended.code != Code::Unimplemented, reflection, "{ended:?}");
    }
}
