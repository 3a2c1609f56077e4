//! The official negative cases (grpc/grpc `doc/negative-http2-interop-test-descriptions.md`), and the
//! padding case of the same suite.

use client::{Channel, Code};

use crate::call::{PLAIN, start};
use crate::channel;
use crate::peer::{
    ACK, DATA, END_STREAM, INTERNAL_ERROR, MAX_STREAMS, NO_ERROR, PADDED, PING, Peer,
    WINDOW_UPDATE, Wire,
};

#[tokio::test]
async fn goaway_after_an_answer_sends_the_next_call_over_a_new_connection() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut first = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = first.request().await;
    first.reply(stream, "one").await;
    assert_eq!(call.await.unwrap().unwrap(), ("one".to_owned(), Code::Ok));

    first.goaway(stream, NO_ERROR, b"").await;
    let mut second = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = second.request().await;
    second.reply(stream, "two").await;
    assert_eq!(call.await.unwrap().unwrap(), ("two".to_owned(), Code::Ok));
}

#[tokio::test]
async fn rst_after_header_fails_the_call_and_does_not_repeat_it() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.response_headers(stream).await;
    wire.reset(stream, INTERNAL_ERROR).await;
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Internal);
    answers_as_if_nothing_had_happened(&channel, &mut wire).await;
}

#[tokio::test]
async fn rst_during_data_fails_the_call() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.response_headers(stream).await;
    wire.send(0, 0, stream, b"\0\0\0\0\x09half").await;
    wire.reset(stream, INTERNAL_ERROR).await;
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Internal);
    answers_as_if_nothing_had_happened(&channel, &mut wire).await;
}

#[tokio::test]
async fn rst_after_data_is_an_error_though_the_message_came() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    for reason in [INTERNAL_ERROR, NO_ERROR] {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        wire.response_headers(stream).await;
        wire.message(stream, "all").await;
        wire.reset(stream, reason).await;
        assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Internal);
    }
    answers_as_if_nothing_had_happened(&channel, &mut wire).await;
}

#[tokio::test]
async fn a_stream_that_ends_without_a_status_is_an_error_never_a_silent_end() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.response_headers(stream).await;
    wire.message(stream, "all").await;
    wire.send(0, END_STREAM, stream, b"").await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Internal, "the response ended without a status")
    );
}

#[tokio::test]
async fn pings_are_answered_between_all_parts_of_an_answer() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    let mut acknowledged = 0;
    for part in 0..4 {
        wire.send(PING, 0, 0, &[part; 8]).await;
        match part {
            0 => wire.response_headers(stream).await,
            1 => wire.message(stream, "pong").await,
            2 => wire.send(PING, 0, 0, &[9; 8]).await,
            _ => wire.trailers(stream, "0").await,
        }
    }
    assert_eq!(call.await.unwrap().unwrap(), ("pong".to_owned(), Code::Ok));
    while acknowledged < 5 {
        let frame = wire.read().await.expect("the connection stays");
        acknowledged += usize::from(frame.kind == PING && frame.flags & ACK != 0);
    }
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_peer_allows_and_none_is_lost() {
    const CALLS: usize = 20;
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept_with(&[(MAX_STREAMS, 2)]).await;
    let calls: Vec<_> = (0..CALLS).map(|_| start(&channel, PLAIN)).collect();
    let mut open = vec![wire.request().await, wire.request().await];
    for answered in 0..CALLS {
        let stream = open.remove(0);
        wire.reply(stream, "one of two").await;
        if answered + 2 < CALLS {
            // Any earlier, and a third would have been open: the peer counts what it reads.
            open.push(wire.request().await);
        }
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().1, Code::Ok);
    }
}

#[tokio::test]
async fn calls_go_where_there_is_room_instead_of_queueing_at_a_full_endpoint() {
    let (full, free) = (Peer::listen().await, Peer::listen().await);
    let channel = channel(&[&full, &free]);
    let mut narrow = full.accept_with(&[(MAX_STREAMS, 1)]).await;
    let mut wide = free.accept().await;
    channel.until(|stats| stats.ready() == 2).await;
    let held = start(&channel, PLAIN);
    let mut calls: Vec<_> = (0..10).map(|_| start(&channel, PLAIN)).collect();
    calls.push(held);
    let held = narrow.request().await;
    for _ in 0..10 {
        let stream = wide.request().await;
        wide.reply(stream, "wide").await;
    }
    narrow.reply(held, "narrow").await;
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().1, Code::Ok);
    }
}

/// Padding takes window like data; a client that gave back only what its caller reads would starve.
#[tokio::test]
async fn padding_is_given_back_to_the_peers_window() {
    const WINDOW: u32 = 65_535;
    const BATCHES: u8 = 3;
    const FRAMES: u8 = 150;
    let peer = Peer::listen().await;
    let target = format!("static:///{}", peer.address);
    let channel = Channel::builder(target).windows(WINDOW, WINDOW).build().unwrap();
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.response_headers(stream).await;
    let length = u32::from(BATCHES) * u32::from(FRAMES);
    wire.send(DATA, 0, stream, &[&[0][..], &length.to_be_bytes()].concat()).await;
    for _ in 0..BATCHES {
        for _ in 0..FRAMES {
            let mut body = vec![255, b'x'];
            body.resize(2 + 255, 0);
            wire.send(DATA, PADDED, stream, &body).await;
        }
        // More than half a window was used, so both windows are due to be opened again.
        given_back(&mut wire, stream).await;
    }
    wire.trailers(stream, "0").await;
    let (text, code) = call.await.unwrap().unwrap();
    assert_eq!((text.len(), code), (length as usize, Code::Ok));
}

async fn given_back(wire: &mut Wire, stream: u32) {
    let mut waiting = vec![0, stream];
    while !waiting.is_empty() {
        let frame = wire.next().await.expect("the connection stays");
        waiting.retain(|one| frame.kind != WINDOW_UPDATE || frame.stream != *one);
    }
}

async fn answers_as_if_nothing_had_happened(channel: &Channel, wire: &mut Wire) {
    let call = start(channel, PLAIN);
    let stream = wire.request().await;
    wire.reply(stream, "still here").await;
    assert_eq!(call.await.unwrap().unwrap(), ("still here".to_owned(), Code::Ok));
}
