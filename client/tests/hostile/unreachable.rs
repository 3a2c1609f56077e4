//! Servers that cannot be reached, or can and make no sense.

use std::time::{Duration, Instant};

use client::{Channel, Code};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tower_service::Service;

use crate::call::{CONFIG, PLAIN, request, send, start, start_waiting};
use crate::peer::Peer;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_server_that_never_sends_settings_is_given_up_at_the_connect_timeout() {
    let mute = Peer::listen().await;
    let began = Instant::now();
    let channel = Channel::builder(format!("static:///{}", mute.address))
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .unwrap();
    let call = start(&channel, PLAIN);
    let _held_open = mute.accept_raw().await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("not connected within 300ms"), "{error}");
    assert!(began.elapsed() < 3 * CONNECT_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_mute_server_beside_a_good_one_costs_no_call() {
    let (mute, good) = (Peer::listen().await, Peer::listen().await);
    let channel = Channel::builder(format!("static:///{},{}", mute.address, good.address))
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .unwrap();
    let _held_open = mute.accept_raw().await;
    let mut wire = good.accept().await;
    for _ in 0..5 {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        wire.reply(stream, "good").await;
        assert_eq!(call.await.unwrap().unwrap().1, Code::Ok);
    }
}

#[tokio::test]
async fn nonsense_instead_of_http2_ends_the_connection_and_nothing_hangs() {
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 4096], &[0; 4096], b"\0"] {
        let peer = Peer::listen().await;
        let channel = Channel::builder(format!("static:///{}", peer.address))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .unwrap();
        let call = start(&channel, PLAIN);
        let mut socket = peer.accept_raw().await;
        // It may hang up on us before all is written.
        let _ = socket.write_all(nonsense).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn nonsense_after_settings_fails_calls_under_way_and_the_channel_recovers() {
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address))
        .service_config(CONFIG)
        .build()
        .unwrap();
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    wire.request().await;
    // A DATA frame on stream 0 is a connection error (RFC 9113, 6.1).
    wire.send(0, 0, 0, b"nonsense").await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error}");
    wire.send_bytes(&[0xee; 100]).await;

    let mut wire = peer.accept().await;
    let call = start_waiting(&channel, PLAIN);
    let stream = wire.request().await;
    wire.reply(stream, "back").await;
    assert_eq!(call.await.unwrap().unwrap().1, Code::Ok);
}

#[tokio::test]
async fn a_caller_that_asks_again_at_once_does_not_keep_the_channel_from_connecting() {
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    drop(peer.accept_raw().await);
    let serving = tokio::spawn(async move {
        let mut wire = peer.accept().await;
        let stream = wire.request().await;
        wire.reply(stream, "at last").await;
    });
    let (began, mut failed) = (Instant::now(), 0_u64);
    let answer = loop {
        match send(&channel, request(PLAIN)).await {
            Ok(answer) => break answer,
            Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error}"),
        }
        failed += 1;
        assert!(began.elapsed() < Duration::from_secs(30), "{failed} calls failed");
    };
    assert_eq!(answer, ("at last".to_owned(), Code::Ok));
    assert!(failed > 0);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_stream_of_small_messages_that_nobody_reads_holds_up_no_other_call() {
    const MESSAGES: usize = 20_000;
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    let mut wire = peer.accept().await;
    let unread = tokio::spawn({
        let channel = channel.clone();
        async move { channel.clone().call(request(PLAIN)).await.unwrap() }
    });
    let stream = wire.request().await;
    wire.response_headers(stream).await;
    for _ in 0..MESSAGES {
        wire.message(stream, "hi").await;
    }
    let unread = unread.await.unwrap();
    let call = start(&channel, PLAIN);
    let other = wire.request().await;
    wire.reply(other, "meanwhile").await;
    assert_eq!(call.await.unwrap().unwrap(), ("meanwhile".to_owned(), Code::Ok));
    wire.trailers(stream, "0").await;
    let read = unread.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read.len(), MESSAGES * "\0\0\0\0\x02hi".len());
}

#[tokio::test]
async fn an_unused_channel_keeps_its_connection_and_nothing_reconnects_needlessly() {
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.reply(stream, "one").await;
    assert_eq!(call.await.unwrap().unwrap().1, Code::Ok);
    assert!(peer.is_left_alone(Duration::from_millis(200)).await);
    drop(channel);
    assert!(wire.next().await.is_none_or(|frame| frame.kind == crate::peer::GOAWAY));
}
