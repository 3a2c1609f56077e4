//! Calls without a stub: bytes in, bytes and a status out.

use bytes::{Buf, Bytes};
use client::{CallOptions, Channel, Code, Error};
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::task::JoinHandle;
use tower_service::Service;

/// Two methods: one can be run twice without harm, the other cannot.
pub(crate) const IDEMPOTENT: &str = "/test.Service/Idempotent";
pub(crate) const PLAIN: &str = "/test.Service/Plain";

/// Retries for both methods, quick ones.
pub(crate) const CONFIG: &str = r#"{"methodConfig": [
    {
        "name": [{"service": "test.Service", "method": "Idempotent"}],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
        }
    },
    {
        "name": [{"service": "test.Service"}],
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
            "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]
        }
    }
]}"#;

/// What came back: the message and the status, or what the channel says.
pub(crate) type Answer = Result<(String, Code), Error>;

pub(crate) fn request(path: &str) -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(b"\0\0\0\0\x05hello"));
    let builder = Request::post(path).header("content-type", "application/grpc");
    builder.header("te", "trailers").body(body).unwrap()
}

pub(crate) async fn send(channel: &Channel, request: Request<Full<Bytes>>) -> Answer {
    let response = channel.clone().call(request).await?;
    if let Some(status) = response.headers().get("grpc-status") {
        return Ok((String::new(), code(status)));
    }
    let collected = response.into_body().collect().await?;
    let status = collected.trailers().and_then(|it| it.get("grpc-status")).cloned();
    let mut body = collected.aggregate();
    body.advance(body.remaining().min(5));
    let text = String::from_utf8(body.copy_to_bytes(body.remaining()).to_vec()).unwrap();
    Ok((text, code(&status.expect("the channel lets no answer end without a status"))))
}

/// A call under way on a task of its own.
pub(crate) fn start(channel: &Channel, path: &'static str) -> JoinHandle<Answer> {
    let channel = channel.clone();
    tokio::spawn(async move { send(&channel, request(path)).await })
}

/// As [`start`], waiting for ready.
pub(crate) fn start_waiting(channel: &Channel, path: &'static str) -> JoinHandle<Answer> {
    let channel = channel.clone();
    tokio::spawn(async move {
        let mut request = request(path);
        request.extensions_mut().insert(CallOptions::default().wait_for_ready(true));
        send(&channel, request).await
    })
}

fn code(value: &http::HeaderValue) -> Code {
    Code::from_number(value.to_str().unwrap().parse().unwrap()).unwrap()
}
