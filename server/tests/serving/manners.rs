//! What comes to the gRPC port and is not gRPC.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use prost::Message;
use server::ServeConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::{Client, Pod, encoded, framed};

const LIST: &str = "/grpc.health.v1.Health/List";

/// All that a server says to these bytes until it hangs up.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn json_on_http_2_is_told_its_media_type_and_never_read_as_a_frame() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    for (method, content_type, expected) in [
        ("POST", "application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("POST", "application/grpc-web+proto", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("GET", "text/html", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("GET", "application/grpc", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("http://pod/test.Probe/Do")
            .header("content-type", content_type);
        let body = Bytes::from_static(br#"{"text":"hello"}"#);
        let (head, text) = client.exchange(request.body(body).unwrap()).await.unwrap();
        assert_eq!(head.status, expected, "{method} {content_type}");
        assert!(text.ends_with(b"\n") && text.len() > 10, "{text:?}");
    }
    // The connection goes on.
    let ended = client.call("Do", "hello", &[]).await.unwrap();
    assert_eq!(ended.answers(), ["hello"]);
}

#[tokio::test]
async fn a_client_of_http_1_is_told_in_http_1_what_the_port_speaks() {
    let pod = Pod::start(ServeConfig::default()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: pod\r\n\r\n",
        "POST /test.Probe/Do HTTP/1.1\r\nhost: pod\r\ncontent-type: application/grpc-web\r\n\r\n",
    ] {
        let answer = answer_to(pod.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        assert!(answer.contains("gRPC over HTTP/2"), "{answer}");
    }
}

#[tokio::test]
async fn one_page_has_all_of_health() {
    let pod = Pod::start(ServeConfig::default()).await;
    pod.wait_ready(200).await;
    let (status, all) = pod.get("/q/health").await;
    assert_eq!(status, 200, "{all}");
    for name in ["live", "ready", "started", "database"] {
        assert!(all.contains(&format!(r#"{{"name":"{name}","status":"UP"}}"#)), "{name}: {all}");
    }

    let failing = Pod::start_checked(ServeConfig::default(), || async { Err("away".into()) }).await;
    let (status, all) = failing.get("/q/health").await;
    assert_eq!(status, 503, "{all}");
    assert!(all.contains(r#"{"name":"live","status":"UP"}"#), "{all}");
    assert!(all.contains(r#"{"name":"ready","status":"DOWN"}"#), "{all}");
}

/// As grpc.health.v1 has it.
#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(map = "string, message", tag = "1")]
    statuses: std::collections::HashMap<String, tonic_health::pb::HealthCheckResponse>,
}

#[tokio::test]
async fn health_lists_every_service_and_what_becomes_of_it() {
    let pod = Pod::start(ServeConfig::default()).await;
    pod.wait_ready(200).await;
    let client = Client::connect(pod.address).await;
    let listed = async || {
        let ended = client.send(LIST, framed(0, b""), &[]).await.unwrap();
        assert_eq!(ended.code, Code::Ok, "{ended:?}");
        let listed = Listed::decode(&ended.messages()[0][..]).unwrap();
        let mut all: Vec<_> = listed.statuses.into_iter().map(|(k, v)| (k, v.status)).collect();
        all.sort();
        all
    };
    assert_eq!(listed().await, [(String::new(), 1), ("test.Probe".to_owned(), 1)]);
    pod.trigger.fire();
    pod.wait_ready(503).await;
    assert_eq!(listed().await, [(String::new(), 2), ("test.Probe".to_owned(), 2)]);
}

#[tokio::test]
async fn what_is_not_a_message_of_health_is_refused_as_any_other() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let unknown = client.send("/grpc.health.v1.Health/Lists", framed(0, b""), &[]).await.unwrap();
    assert_eq!(unknown.code, Code::Unimplemented);
    let garbage = client.send(LIST, framed(0, &encoded("x")[..1]), &[]).await.unwrap();
    assert_ne!(garbage.code, Code::Ok);
}
