//! A server behind a Unix socket.

use client::Channel;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn a_unix_target_reaches_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("grpc.sock");
    let incoming = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
    let (_reporter, service) = tonic_health::server::health_reporter();
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(incoming));

    let channel = Channel::builder(format!("unix://{}", path.display())).build().unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
}
