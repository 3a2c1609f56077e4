//! Messages that are longer than the service config allows, and bodies that fail midway.

use std::time::Duration;

use bytes::Bytes;
use client::{Channel, Code, Error};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tower_service::Service;

use crate::network::{Network, Reply, address};
use crate::{METHOD, call, channel};

pub(crate) type Sent = Result<Frame<Bytes>, std::io::Error>;

fn limits(request: u32, response: u32) -> String {
    format!(
        r#"{{"methodConfig": [{{"name": [{{}}],
            "maxRequestMessageBytes": {request}, "maxResponseMessageBytes": {response}}}]}}"#
    )
}

/// A call whose request is said piece by piece.
pub(crate) async fn converse(channel: &Channel) -> (mpsc::Sender<Sent>, Response<client::Body>) {
    let (say, said) = mpsc::channel::<Sent>(1);
    let said = stream::unfold(said, |mut said| async { said.recv().await.map(|it| (it, said)) });
    let request = Request::post(METHOD).body(StreamBody::new(said.boxed())).unwrap();
    let response = channel.clone().call(request).await.unwrap();
    (say, response)
}

async fn end_of(response: Response<client::Body>) -> Error {
    response.into_body().collect().await.expect_err("an error instead of an end")
}

#[tokio::test(start_paused = true)]
async fn messages_of_just_the_allowed_sizes_pass() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::ZERO));
    assert_eq!(call(&channel(&network, &limits(5, 2))).await.unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_request_message_that_is_too_long_fails_its_call_only() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(1)));
    let channel = channel(&network, &limits(4, 2));
    let error = call(&channel).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.message(), "request message of 5 bytes, 4 are allowed");
    let stats = channel.stats();
    assert_eq!((stats.ready(), stats.lost, stats.endpoints[0].in_flight), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_response_message_that_is_too_long_fails_its_call_only() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::ZERO));
    let channel = channel(&network, &limits(5, 1));
    for _ in 0..3 {
        let error = call(&channel).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(error.message(), "response message of 2 bytes, 1 are allowed");
    }
    let stats = channel.stats();
    assert_eq!((stats.connected, stats.endpoints[0].in_flight), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_later_message_of_a_stream_is_held_to_the_size_too() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Echo);
    let channel = channel(&network, &limits(4, 4));
    let (say, response) = converse(&channel).await;
    for message in [&b"\0\0\0\0\x04four"[..], b"\0\0\0\0\x05", b"fives"] {
        // The stream may have ended before the last piece was said.
        let _ = say.send(Ok(Frame::data(Bytes::from_static(message)))).await;
    }
    let error = end_of(response).await;
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert_eq!(error.message(), "request message of 5 bytes, 4 are allowed");
    assert_eq!(network.resets().await, 1, "the server must not wait for the rest");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_after_the_response_began_ends_both_ways() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Echo);
    let channel = channel(&network, "{}");
    let (say, response) = converse(&channel).await;
    say.send(Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x02ok")))).await.unwrap();
    say.send(Err(std::io::Error::other("out of words"))).await.unwrap();
    let error = end_of(response).await;
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    assert!(error.message().contains("out of words"), "{error}");
    assert_eq!(network.resets().await, 1, "the server must not take this for the end");
}
