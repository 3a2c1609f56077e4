//! gRPC-Web over real sockets, as browsers send it.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message;
use server::{Fairness, GrpcWeb, ServeConfig};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Code;

use crate::compressed;
use crate::support::{Client, Pod, encoded, framed};

const PAGE: &str = "https://shop.example";
const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

fn config() -> ServeConfig {
    ServeConfig {
        grpc_web: Some(GrpcWeb { origins: vec![PAGE.to_owned()] }),
        lame_duck: Duration::from_millis(500),
        ..ServeConfig::default()
    }
}

/// A browser's connection without TLS: HTTP/1.1.
struct Browser {
    requests: http1::SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Browser {
    async fn connect(pod: &Pod) -> Self {
        let stream = TokioIo::new(TcpStream::connect(pod.address).await.unwrap());
        let (requests, connection) = http1::handshake(stream).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn call(
        &mut self,
        method: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> (response::Parts, Bytes) {
        self.call_from(PAGE, method, content_type, body).await
    }

    async fn call_from(
        &mut self,
        origin: &str,
        method: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> (response::Parts, Bytes) {
        let request = Request::post(format!("/test.Probe/{method}"))
            .header("host", "pod")
            .header("origin", origin)
            .header("content-type", content_type)
            .header("accept", content_type)
            .header("x-grpc-web", "1");
        self.send(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> (response::Parts, Bytes) {
        let answered: Response<_> = self.requests.send_request(request).await.unwrap();
        let (head, body) = answered.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }
}

/// The messages of a body, and the trailers that end it, or stand in the headers.
fn read(head: &response::Parts, mut body: &[u8]) -> (Vec<String>, Code) {
    let (mut messages, mut status) = (Vec::new(), code_in(&head.headers));
    while let [flag, a, b, c, d, rest @ ..] = body {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap();
        let (frame, left) = rest.split_at(length);
        match flag {
            0 => messages.push(String::decode(frame).unwrap()),
            0x80 => {
                let text = String::from_utf8(frame.to_vec()).unwrap();
                let line = text.lines().find_map(|line| line.strip_prefix("grpc-status:"));
                status = line.map(|code| Code::from_bytes(code.trim().as_bytes()));
            }
            other => panic!("a frame of {other}"),
        }
        body = left;
    }
    (messages, status.expect("every answer has a status"))
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()))
}

#[tokio::test]
async fn a_page_calls_and_streams_over_http_1_in_bytes_and_in_text() {
    let pod = Pod::start(config()).await;
    let mut browser = Browser::connect(&pod).await;
    let hello = framed(0, &encoded("hello"));
    let (head, body) = browser.call("Do", BINARY, hello.clone()).await;
    assert_eq!(head.headers["content-type"], BINARY);
    assert_eq!(head.headers["access-control-allow-origin"], PAGE);
    assert_eq!(head.headers["vary"], "origin");
    assert!(
        head.headers["access-control-expose-headers"].to_str().unwrap().contains("grpc-status")
    );
    assert!(!head.headers.contains_key("access-control-allow-credentials"));
    assert_eq!(read(&head, &body), (vec!["hello".to_owned()], Code::Ok));

    let (head, body) = browser.call("Stream", BINARY, hello.clone()).await;
    assert_eq!(read(&head, &body).0, ["first", "hello"]);

    let (head, body) = browser.call("Do", TEXT, BASE64.encode(&hello)).await;
    assert_eq!(head.headers["content-type"], "application/grpc-web-text+proto");
    assert_eq!(read(&head, &plain(&body)), (vec!["hello".to_owned()], Code::Ok));
}

/// Each frame is encoded by itself, so there may be padding in the middle.
fn plain(text: &[u8]) -> Vec<u8> {
    let quads = text.chunks(4).map(|quad| BASE64.decode(quad).unwrap());
    quads.collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn what_goes_wrong_reaches_the_page_as_a_status() {
    let fairness = Fairness { body_timeout: Duration::from_millis(200), ..Fairness::default() };
    let pod = Pod::start(ServeConfig { max_message_bytes: 1_024, fairness, ..config() }).await;
    let mut browser = Browser::connect(&pod).await;
    let (head, body) = browser.call("Do", BINARY, framed(0, &encoded("panic"))).await;
    assert_eq!(read(&head, &body).1, Code::Internal);
    let (head, body) = browser.call("Guess", BINARY, framed(0, b"")).await;
    assert_eq!(read(&head, &body).1, Code::Unimplemented);
    for long in [framed(0, &[7; 1_025]), framed(0, &[7; 100_000])] {
        let (head, body) = Browser::connect(&pod).await.call("Do", BINARY, long.clone()).await;
        assert_eq!(read(&head, &body).1, Code::ResourceExhausted);
        let text = BASE64.encode(long);
        let (head, body) = Browser::connect(&pod).await.call("Do", TEXT, text).await;
        assert_eq!(read(&head, &plain(&body)).1, Code::ResourceExhausted);
    }

    let mut request = Request::post("/test.Probe/Do")
        .header("content-type", BINARY)
        .header("grpc-encoding", "gzip")
        .body(Full::new(framed(1, &compressed::gzip_zeros(10 << 20))))
        .unwrap();
    let (head, body) = Browser::connect(&pod).await.send(request.clone()).await;
    assert_eq!(read(&head, &body).1, Code::ResourceExhausted);
    request.headers_mut().insert("grpc-timeout", "50m".parse().unwrap());
    *request.body_mut() = Full::new(framed(1, &compressed::gzip(&encoded("wait"))));
    let (head, body) = Browser::connect(&pod).await.send(request).await;
    assert_eq!(read(&head, &body).1, Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_page_of_another_origin_runs_nothing() {
    let pod = Pod::start(config()).await;
    let mut browser = Browser::connect(&pod).await;
    let wait = framed(0, &encoded("wait"));
    let foreign = "https://evil.example";
    let (head, _) = browser.call_from(foreign, "Do", BINARY, wait).await;
    assert_eq!(head.status, StatusCode::FORBIDDEN);
    assert!(!head.headers.contains_key("access-control-allow-origin"));
    pod.wait_running(0).await;
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_a_page_may_send() {
    let pod = Pod::start(config()).await;
    let mut browser = Browser::connect(&pod).await;
    let ask = |origin: &str| {
        Request::options("/test.Probe/Do")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-grpc-web")
            .body(Full::default())
            .unwrap()
    };
    let (head, _) = browser.send(ask(PAGE)).await;
    assert_eq!(head.status, StatusCode::NO_CONTENT);
    assert_eq!(head.headers["access-control-allow-origin"], PAGE);
    let allowed = head.headers["access-control-allow-headers"].to_str().unwrap();
    for header in ["authorization", "content-type", "grpc-timeout", "x-grpc-web"] {
        assert!(allowed.split(',').any(|it| it == header), "{header} is not in {allowed}");
    }
    let (head, _) = browser.send(ask("https://evil.example")).await;
    assert_eq!(head.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn grpc_goes_on_beside_it_and_http_1_carries_nothing_else() {
    let pod = Pod::start(config()).await;
    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().answers(), ["hello"]);
    // As a browser sends it over TLS.
    let request = Request::post("http://pod/test.Probe/Do").header("content-type", BINARY);
    let (head, body) =
        client.exchange(request.body(framed(0, &encoded("hello"))).unwrap()).await.unwrap();
    assert_eq!(read(&head, &body), (vec!["hello".to_owned()], Code::Ok));

    let mut browser = Browser::connect(&pod).await;
    for (content_type, expected) in [
        ("application/grpc", StatusCode::UPGRADE_REQUIRED),
        ("application/json", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/x-www-form-urlencoded", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let (head, _) = browser.call("Do", content_type, framed(0, b"")).await;
        assert_eq!(head.status, expected, "{content_type}");
    }
}

#[tokio::test]
async fn a_drain_lets_a_pages_call_finish_and_then_hangs_up() {
    let pod = Pod::start(config()).await;
    let (mut busy, mut idle) = (Browser::connect(&pod).await, Browser::connect(&pod).await);
    idle.call("Do", BINARY, framed(0, &encoded("hello"))).await;
    let call = tokio::spawn(async move {
        let answered = busy.call("Do", BINARY, framed(0, &encoded("wait"))).await;
        (answered, busy)
    });
    pod.wait_running(1).await;
    pod.trigger.fire();
    // Its turn comes within the lame duck.
    idle.connection.await.unwrap().unwrap();

    pod.open_gate();
    let ((head, body), busy) = call.await.unwrap();
    assert_eq!(read(&head, &body), (vec!["waited".to_owned()], Code::Ok));
    busy.connection.await.unwrap().unwrap();
    let summary = pod.left(Duration::from_secs(20)).await;
    assert_eq!((summary.calls_drained, summary.calls_cut, summary.forced), (1, 0, false));
}

#[tokio::test]
async fn a_browser_that_sends_half_a_head_is_dropped() {
    let fairness = Fairness { body_timeout: Duration::from_millis(200), ..Fairness::default() };
    let pod = Pod::start(ServeConfig { fairness, ..config() }).await;
    let mut stream = TcpStream::connect(pod.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"POST /test.Probe/Do HTTP/1.1\r\nhost: p")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    tokio::time::timeout(crate::support::FOR_EVER, read).await.expect("never dropped").unwrap();
}
