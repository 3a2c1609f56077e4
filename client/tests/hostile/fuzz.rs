//! Bytes instead of answers, one connection after the other: every call ends, and nothing panics.

use std::time::Duration;

use client::Channel;
use fuzz::{Fuzz, panics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call::{PLAIN, request, send};
use crate::peer::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, Peer, RST_STREAM, SETTINGS,
};

/// Of a call, whatever the other side says.
const DEADLINE: Duration = Duration::from_millis(100);

/// A call that has no end at all has failed the test.
const FOR_EVER: Duration = Duration::from_secs(20);

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// `:status 200` and literal fields that no table remembers (RFC 7541, 6.2.2).
fn block(status: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = if status { vec![0x88] } else { Vec::new() };
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// What a server says on a connection with one call, from its settings on.
fn answers() -> Vec<Vec<u8>> {
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let with = |frames: &[Vec<u8>]| [settings.clone(), frames.concat()].concat();
    let grpc = ("content-type", "application/grpc");
    let headers = frame(HEADERS, END_HEADERS, 1, &block(true, &[grpc]));
    let end = |fields: &[(&str, &str)]| {
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(false, fields))
    };
    let refused = |fields: &[(&str, &str)]| {
        let fields = [&[grpc], fields].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(true, &fields))
    };
    vec![
        with(&[
            headers.clone(),
            frame(DATA, 0, 1, b"\0\0\0\0\x02ok"),
            end(&[("grpc-status", "0")]),
        ]),
        with(&[refused(&[
            ("grpc-status", "14"),
            ("grpc-message", "a%20b%ff"),
            ("grpc-retry-pushback-ms", "10"),
        ])]),
        with(&[refused(&[("grpc-status", "8"), ("grpc-status-details-bin", "CAgSAW8")])]),
        with(&[headers, frame(RST_STREAM, 0, 1, &[0, 0, 0, 7])]),
        with(&[frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11, b't']), frame(PING, 0, 0, &[7; 8])]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ]
}

/// Says these bytes to whoever connects once a call has come, and hangs up.
async fn say(mut socket: TcpStream, bytes: &[u8]) {
    // The preface and the head of the first frame: a client that has said nothing yet could not tell what an answer is to.
    let mut heard = [0; 33];
    let _gone = timeout(DEADLINE, socket.read_exact(&mut heard)).await;
    let _hung_up = socket.write_all(bytes).await;
    let _ended = socket.shutdown().await;
    // What it still says goes unheard, and must not become a reset that overtakes the answer.
    let mut rest = Vec::new();
    let _end = timeout(DEADLINE, socket.read_to_end(&mut rest)).await;
}

fn channel(peer: &Peer) -> Channel {
    let backoff = Duration::from_millis(1);
    let builder = Channel::builder(format!("static:///{}", peer.address));
    builder.connection_backoff(backoff, backoff, 1.0).build().unwrap()
}

async fn outcome(channel: &Channel) -> String {
    let mut request = request(PLAIN);
    let timeout_header = format!("{}m", DEADLINE.as_millis()).parse().unwrap();
    request.headers_mut().insert("grpc-timeout", timeout_header);
    match send(channel, request).await {
        Ok((_, code)) => format!("{code:?}"),
        Err(error) => format!("{:?}", error.code()),
    }
}

#[tokio::test]
async fn every_call_ends_whatever_the_other_side_says() {
    panics();
    let peer = Peer::listen().await;
    let words =
        ["grpc-status", "grpc-message", "content-type", ":status", "\0\0\x04\x08\0\0\0\0\0"];
    let mut fuzz = Fuzz::new("frames to a client", answers()).dictionary(words);
    while let Some(bytes) = fuzz.next() {
        let channel = channel(&peer);
        let calling = timeout(FOR_EVER, outcome(&channel));
        tokio::pin!(calling);
        let ended = loop {
            tokio::select! {
                ended = &mut calling => break ended,
                socket = peer.accept_raw() => say(socket, &bytes).await,
            }
        };
        assert_eq!(panics(), 0, "{}", fuzz.describe(&bytes));
        let ended = ended.unwrap_or_else(|_| panic!("no end: {}", fuzz.describe(&bytes)));
        fuzz.learn(&bytes, &ended);
    }
}
