//! Calls that broke: sent again exactly when they cannot have run, or may run twice.

use std::time::Duration;

use client::Code;

use crate::call::{IDEMPOTENT, PLAIN, start};
use crate::channel;
use crate::peer::{CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, Peer, REFUSED_STREAM};

/// Long enough for a retry that should not be to show itself: ten times the longest backoff.
const QUIET: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_refused_stream_is_sent_again_at_once_even_where_nothing_is_idempotent() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.reset(stream, REFUSED_STREAM).await;
    let stream = wire.request().await;
    wire.reply(stream, "second").await;
    assert_eq!(call.await.unwrap().unwrap(), ("second".to_owned(), Code::Ok));
}

#[tokio::test]
async fn refusals_without_end_stop_at_the_policys_attempts() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    // Four attempts, and one that was free.
    for _ in 0..5 {
        let stream = wire.request().await;
        wire.reset(stream, REFUSED_STREAM).await;
    }
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_behind_a_goaways_last_stream_moves_and_the_one_before_it_finishes() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut old = peer.accept().await;
    let first = start(&channel, PLAIN);
    let kept = old.request().await;
    let second = start(&channel, PLAIN);
    old.request().await;
    old.goaway(kept, NO_ERROR, b"").await;
    let mut new = peer.accept().await;
    let moved = new.request().await;
    new.reply(moved, "moved").await;
    assert_eq!(second.await.unwrap().unwrap(), ("moved".to_owned(), Code::Ok));
    old.reply(kept, "kept").await;
    assert_eq!(first.await.unwrap().unwrap(), ("kept".to_owned(), Code::Ok));
}

#[tokio::test]
async fn no_new_stream_follows_a_goaway_though_one_is_still_open() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut old = peer.accept().await;
    let open = start(&channel, PLAIN);
    let stream = old.request().await;
    // The graceful form: "finish what you like, start nothing".
    old.goaway(0x7fff_ffff, NO_ERROR, b"").await;
    let mut new = peer.accept().await;
    for _ in 0..20 {
        let call = start(&channel, PLAIN);
        let stream = new.request().await;
        new.reply(stream, "new").await;
        assert_eq!(call.await.unwrap().unwrap(), ("new".to_owned(), Code::Ok));
    }
    old.reply(stream, "old").await;
    assert_eq!(open.await.unwrap().unwrap(), ("old".to_owned(), Code::Ok));
}

#[tokio::test]
async fn a_call_that_may_have_run_fails_unless_its_method_is_idempotent() {
    let (dying, spare) = (Peer::listen().await, Peer::listen().await);
    let channel = channel(&[&dying]);
    let mut wire = dying.accept().await;
    let plain = start(&channel, PLAIN);
    wire.request().await;
    drop(wire);
    let error = plain.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    drop(spare);

    let mut wire = dying.accept().await;
    let repeated = start(&channel, IDEMPOTENT);
    wire.request().await;
    drop(wire);
    let mut wire = dying.accept().await;
    let stream = wire.request().await;
    wire.reply(stream, "again").await;
    assert_eq!(repeated.await.unwrap().unwrap(), ("again".to_owned(), Code::Ok));
}

#[tokio::test]
async fn a_connection_that_dies_after_goaway_leaves_the_calls_before_it_ambiguous() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    // In one breath: h2 then reports the GOAWAY for a stream that the GOAWAY does not cover.
    wire.goaway(stream, NO_ERROR, b"").await;
    drop(wire);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let mut next = peer.accept().await;
    let quiet = tokio::time::timeout(QUIET, next.request()).await;
    assert!(quiet.is_err(), "a call that may have run was sent again");
}

#[tokio::test]
async fn a_cancelled_stream_is_ambiguous_too() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let plain = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.reset(stream, CANCEL).await;
    assert_eq!(plain.await.unwrap().unwrap_err().code(), Code::Cancelled);

    let repeated = start(&channel, IDEMPOTENT);
    let stream = wire.request().await;
    wire.reset(stream, CANCEL).await;
    let stream = wire.request().await;
    wire.reply(stream, "again").await;
    assert_eq!(repeated.await.unwrap().unwrap().1, Code::Ok);
}

#[tokio::test]
async fn pushback_says_when_and_whether() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    let stream = wire.request().await;
    wire.refuse(stream, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "200")]).await;
    let pushed = std::time::Instant::now();
    let stream = wire.request().await;
    assert!(pushed.elapsed() >= Duration::from_millis(195), "{:?}", pushed.elapsed());
    wire.refuse(stream, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")]).await;
    assert_eq!(call.await.unwrap().unwrap(), (String::new(), Code::Unavailable));
    let quiet = tokio::time::timeout(QUIET, wire.request()).await;
    assert!(quiet.is_err(), "the server said never");
}

#[tokio::test]
async fn a_peer_that_asks_for_calm_loses_the_connection_not_the_calls() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let call = start(&channel, PLAIN);
    wire.request().await;
    wire.goaway(0, ENHANCE_YOUR_CALM, b"too_many_pings").await;
    drop(wire);
    let mut wire = peer.accept().await;
    let stream = wire.request().await;
    wire.reply(stream, "calm").await;
    assert_eq!(call.await.unwrap().unwrap(), ("calm".to_owned(), Code::Ok));
}

#[tokio::test]
async fn an_idle_connection_that_is_asked_to_leave_counts_as_drained_and_not_as_lost() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    channel.until(|stats| stats.ready() == 1).await;
    wire.goaway(0, NO_ERROR, b"max_age").await;
    drop(wire);
    channel.until(|stats| stats.drained + stats.lost > 0).await;
    assert_eq!((channel.stats().drained, channel.stats().lost), (1, 0));
}

#[tokio::test]
async fn a_server_that_asks_every_connection_to_leave_at_once_is_not_tried_in_a_tight_loop() {
    let peer = Peer::listen().await;
    let _channel = channel(&[&peer]);
    for reason in [NO_ERROR, ENHANCE_YOUR_CALM] {
        let mut wire = peer.accept().await;
        let began = std::time::Instant::now();
        wire.goaway(0, reason, b"").await;
        let _next = peer.accept_raw().await;
        assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    }
}
