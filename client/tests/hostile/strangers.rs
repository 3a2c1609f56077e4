//! Answers of something else than a gRPC server, and of gRPC servers that write them wrong.

use client::{Channel, Code};

use crate::call::{PLAIN, request, send, start};
use crate::channel;
use crate::peer::{DATA, END_STREAM, Peer, Wire};

#[tokio::test]
async fn status_details_that_are_no_base64_are_an_error_and_never_reach_the_stub() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    let broken = [("grpc-status", "9"), ("grpc-status-details-bin", "@@")];

    // In the trailers, in the only headers, and in headers before a message.
    for place in 0..3 {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        match place {
            0 => {
                wire.response_headers(stream).await;
                wire.message(stream, "hi").await;
                wire.trailers_with(stream, &broken).await;
            }
            1 => wire.refuse(stream, &broken).await,
            _ => {
                wire.http(stream, "200", &broken).await;
                wire.message(stream, "hi").await;
                wire.trailers(stream, "0").await;
            }
        }
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{error}");
        assert!(error.message().contains("grpc-status-details-bin"), "{error}");
    }
    answers_as_before(&channel, &mut wire).await;
}

#[tokio::test]
async fn status_details_with_and_without_padding_pass() {
    let peer = Peer::listen().await;
    let channel = channel(&[&peer]);
    let mut wire = peer.accept().await;
    for details in ["", "CAkSAW4=", "CAkSAW4"] {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        wire.response_headers(stream).await;
        let fields = [("grpc-status", "9"), ("grpc-status-details-bin", details)];
        wire.trailers_with(stream, &fields).await;
        assert_eq!(call.await.unwrap().unwrap().1, Code::FailedPrecondition);
    }
}

/// grpc/grpc `doc/http-grpc-status-mapping.md`, and 431, which HTTP/2 servers answer to metadata that
/// is too long for them.
#[tokio::test]
async fn a_proxys_page_is_told_by_its_http_status_and_type() {
    const MAPPING: [(&str, Code); 11] = [
        ("400", Code::Internal),
        ("401", Code::Unauthenticated),
        ("403", Code::PermissionDenied),
        ("404", Code::Unimplemented),
        ("429", Code::Unavailable),
        ("431", Code::ResourceExhausted),
        ("500", Code::Unknown),
        ("502", Code::Unavailable),
        ("503", Code::Unavailable),
        ("504", Code::Unavailable),
        ("200", Code::Unknown),
    ];
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    let mut wire = peer.accept().await;
    for (status, code) in MAPPING {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        wire.http(stream, status, &[("content-type", "text/html; charset=utf-8")]).await;
        wire.send(DATA, END_STREAM, stream, b"<html>Bad Gateway</html>").await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), code, "{status}: {error}");
        let told = format!("HTTP {status} (text/html; charset=utf-8)");
        assert!(error.message().contains(&told), "{error}");
    }
    answers_as_before(&channel, &mut wire).await;
}

#[tokio::test]
async fn metadata_that_is_too_long_fails_its_call_alone() {
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    let mut wire = peer.accept().await;
    let beside = start(&channel, PLAIN);
    let beside_stream = wire.request().await;

    // The least above 64 KiB, and the least above what h2 decodes at all, in the headers and in the trailers.
    for (bytes, in_trailers) in [(66 << 10, false), (66 << 10, true), (1_100 << 10, false)] {
        let call = start(&channel, PLAIN);
        let stream = wire.request().await;
        if in_trailers {
            wire.response_headers(stream).await;
        }
        wire.long_headers(stream, bytes).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{bytes} {in_trailers}: {error}");
        assert!(error.message().contains("metadata"), "{error}");
    }
    wire.reply(beside_stream, "beside").await;
    assert_eq!(beside.await.unwrap().unwrap(), ("beside".to_owned(), Code::Ok));
}

#[tokio::test]
async fn a_request_longer_than_the_peer_reads_is_refused_before_it_is_sent() {
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`.
    const MAX_HEADER_LIST: u16 = 6;
    let peer = Peer::listen().await;
    let channel = Channel::builder(format!("static:///{}", peer.address)).build().unwrap();
    let mut wire = peer.accept_with(&[(MAX_HEADER_LIST, 4096)]).await;
    let mut long = request(PLAIN);
    long.headers_mut().insert("x-long", "x".repeat(4096).parse().unwrap());
    let error = send(&channel, long).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("4096"), "{error}");
    answers_as_before(&channel, &mut wire).await;
}

async fn answers_as_before(channel: &Channel, wire: &mut Wire) {
    let call = start(channel, PLAIN);
    let stream = wire.request().await;
    wire.reply(stream, "still here").await;
    assert_eq!(call.await.unwrap().unwrap(), ("still here".to_owned(), Code::Ok));
}
