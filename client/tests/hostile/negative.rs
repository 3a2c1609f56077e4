//! The six official cases.

use client::Code;

use crate::call::{PLAIN, start};
use crate::channel;
use crate::peer::{ACK, END_STREAM, INTERNAL_ERROR, MAX_STREAMS, NO_ERROR, PING, Peer};

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

async fn answers_as_if_nothing_had_happened(
    channel: &client::Channel,
    wire: &mut crate::peer::Wire,
) {
    let call = start(channel, PLAIN);
    let stream = wire.request().await;
    wire.reply(stream, "still here").await;
    assert_eq!(call.await.unwrap().unwrap(), ("still here".to_owned(), Code::Ok));
}
