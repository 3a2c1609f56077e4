//! A tonic stub over the channel, against tonic's own server on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use client::{CallOptions, Channel};
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Code, Request};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::HealthReporter;

async fn health_server() -> (SocketAddr, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let router: Router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(incoming));
    (address, reporter)
}

fn request(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn a_unary_call_and_a_server_stream_work_and_errors_keep_their_code() {
    let (address, reporter) = health_server().await;
    reporter.set_service_status("a", ServingStatus::Serving).await;
    let channel = Channel::builder(format!("static:///{address}")).build().unwrap();
    let mut stub = HealthClient::new(channel);

    let answer = stub.check(request("a")).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    assert_eq!(stub.check(request("b")).await.unwrap_err().code(), Code::NotFound);

    let mut watch = stub.watch(request("a")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    reporter.set_service_status("a", ServingStatus::NotServing).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
}

#[tokio::test]
async fn calls_to_nowhere_fail_with_unavailable_unless_they_wait_for_ready() {
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nowhere.local_addr().unwrap();
    drop(nowhere);
    let channel = Channel::builder(format!("http://{address}")).build().unwrap();
    let mut stub = HealthClient::new(channel);

    let error = stub.check(request("")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    assert!(error.message().contains(&address.to_string()), "{error}");

    let mut waiting = request("");
    let options = CallOptions::default().wait_for_ready(true);
    waiting.extensions_mut().insert(options.timeout(Duration::from_millis(50)));
    let error = stub.check(waiting).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
}

#[tokio::test]
async fn the_deadline_covers_the_body_of_a_stream_too() {
    let (address, reporter) = health_server().await;
    reporter.set_service_status("a", ServingStatus::Serving).await;
    let channel = Channel::builder(format!("dns:///localhost:{}", address.port())).build().unwrap();
    let mut stub = HealthClient::new(channel);

    let mut bounded = request("a");
    bounded.set_timeout(Duration::from_millis(200));
    let mut watch = stub.watch(bounded).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    assert_eq!(watch.message().await.unwrap_err().code(), Code::DeadlineExceeded);
}
