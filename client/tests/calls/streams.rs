//! Streams in both directions.

use std::time::Duration;

use bytes::Bytes;
use client::Code;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tower_service::Service;

use crate::network::{Network, Reply, address};
use crate::{METHOD, builder, call, call_within, channel, request};

type Sent = Result<Frame<Bytes>, std::convert::Infallible>;

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_back_and_forth_over_one_stream() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Echo);
    let channel = channel(&network, "{}");
    let (say, said) = mpsc::channel::<Sent>(1);
    let said = stream::unfold(said, |mut said| async { said.recv().await.map(|it| (it, said)) });
    let request = Request::post(METHOD).body(StreamBody::new(said.boxed())).unwrap();
    let response = channel.clone().call(request).await.unwrap();
    let mut body = response.into_body();
    for word in ["one", "two", "three"] {
        say.send(Ok(Frame::data(Bytes::from(word)))).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
        assert_eq!(channel.stats().endpoints[0].in_flight, 1);
    }
    drop(say);
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(channel.stats().endpoints[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn more_than_all_windows_hold_passes_through() {
    const PIECES: usize = 400;
    let network = Network::default();
    network.serve(address(1), |_| Reply::Echo);
    let channel = channel(&network, "{}");
    let pieces = (0..PIECES).map(|n| Sent::Ok(Frame::data(vec![n as u8; 16 << 10].into())));
    let request = Request::post(METHOD).body(StreamBody::new(stream::iter(pieces))).unwrap();
    let response = channel.clone().call(request).await.unwrap();
    let back = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(back.len(), PIECES * (16 << 10));
    assert!(
        back.chunks(16 << 10).enumerate().all(|(n, piece)| piece.iter().all(|b| *b == n as u8))
    );
}

#[tokio::test(start_paused = true)]
async fn streams_that_nobody_reads_stop_only_themselves() {
    const UNREAD: usize = 100;
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0..UNREAD => Reply::Flood,
        _ => Reply::Good(Duration::ZERO),
    });
    let channel = channel(&network, "{}");
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(channel.clone().call(request()).await.unwrap());
    }
    // Paused time: it stands still until no window has room for another byte.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..10 {
        let answer = call_within(&channel, Duration::from_secs(1)).await;
        assert_eq!(answer.unwrap(), Code::Ok);
    }
    assert_eq!(channel.stats().connected, 1, "the same connection carries all of them");
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_no_more_calls_than_its_window_has_room_for() {
    const WINDOW: u32 = 64 << 10;
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0..3 => Reply::Flood,
        _ => Reply::Good(Duration::ZERO),
    });
    let channel = builder(&network, "{}").windows(WINDOW, 4 * WINDOW).build().unwrap();
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(channel.clone().call(request()).await.unwrap());
    }
    // Paused time: until no window has room for another byte.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answers = (0..20).map(|_| call_within(&channel, Duration::from_secs(1)));
    for answer in futures_util::future::join_all(answers).await {
        assert_eq!(answer.unwrap(), Code::Ok, "the fourth place is for everyone in turn");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_frees_its_place_at_once() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(600)));
    let channel = channel(&network, "{}");
    let left = tokio::time::timeout(Duration::from_secs(1), call(&channel)).await;
    assert!(left.is_err());
    assert_eq!(channel.stats().endpoints[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_fails_its_call_only() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Echo,
        _ => Reply::Good(Duration::ZERO),
    });
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 1).await;
    let failing = stream::iter([Err::<Frame<Bytes>, _>(std::io::Error::other("out of words"))]);
    let request = Request::post(METHOD).body(StreamBody::new(failing)).unwrap();
    let error = channel.clone().call(request).await.err().unwrap();
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    assert!(error.message().contains("out of words"), "{error}");
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
}
