//! Bytes instead of HTTP/2, one connection after the other: the server goes on serving, and panics at none.

use std::time::Duration;

use fuzz::{Fuzz, panics};
use server::ServeConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{Client, FOR_EVER, Pod};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// The header block of a call: literal fields that no table remembers (RFC 7541, 6.2.2).
fn call(fields: &[(&str, &str)]) -> Vec<u8> {
    let path =
        ("/test.Probe/Do", [(":scheme", "http"), (":method", "POST"), (":authority", "pod")]);
    let named = path.1.into_iter().chain([(":path", path.0)]);
    let usual = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut block = Vec::new();
    for (name, value) in named.chain(usual).chain(fields.iter().copied()) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Whole conversations, from the preface on.
fn conversations() -> Vec<Vec<u8>> {
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    let open = [PREFACE, &settings].concat();
    let message = b"\0\0\0\0\x07\x0a\x05hello";
    let with = |frames: &[Vec<u8>]| [open.clone(), frames.concat()].concat();
    let fields: [&[(&str, &str)]; 4] = [
        &[],
        &[("grpc-timeout", "100m")],
        &[("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,zstd")],
        &[
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-bin", "AAEC"),
        ],
    ];
    let calls = fields.map(|fields| {
        with(&[frame(HEADERS, END_HEADERS, 1, &call(fields)), frame(DATA, END_STREAM, 1, message)])
    });
    let others = [
        PREFACE.to_vec(),
        with(&[frame(PING, 0, 0, &[7; 8]), frame(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0])]),
        with(&[frame(HEADERS, END_HEADERS, 1, &call(&[])), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
        with(&[frame(GOAWAY, 0, 0, &[0; 8])]),
        b"GET /q/metrics HTTP/1.1\r\nhost: pod\r\n\r\n".to_vec(),
    ];
    calls.into_iter().chain(others).collect()
}

/// Kinds of the frames that came back, which tell conversations apart; empty when it hung up without a word.
async fn answer(pod: &Pod, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(pod.address).await.unwrap();
    // It may hang up in the middle of nonsense.
    let _written = stream.write_all(bytes).await;
    let _ended = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = timeout(FOR_EVER, stream.read_to_end(&mut answer)).await;
    let _hung_up = read.expect("a connection whose peer is done ends");

    let (mut kinds, mut rest) = (Vec::new(), answer.as_slice());
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        kinds.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = after.get(length..).unwrap_or_default();
    }
    kinds
}

#[tokio::test]
async fn no_bytes_make_the_server_panic_or_stop_serving() {
    let config = ServeConfig {
        handshake_timeout: Duration::from_millis(200),
        connection_idle: Duration::from_millis(200),
        connection_age_grace: Duration::from_millis(200),
        ..ServeConfig::default()
    };
    panics();
    let pod = Pod::start(config).await;
    let mut fuzz = Fuzz::new("frames to a server", conversations()).dictionary([
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &[0x82]),
        frame(DATA, 0, 1, &[0; 5]),
        frame(SETTINGS, 0, 0, &[0, 1, 0xff, 0xff, 0xff, 0xff]),
        frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
        frame(9, END_HEADERS, 1, &[]),
        b"grpc-timeout".to_vec(),
    ]);
    while let Some(bytes) = fuzz.next() {
        let kinds = answer(&pod, &bytes).await;
        fuzz.learn(&bytes, &kinds);
        assert_eq!(panics(), 0, "{}", fuzz.describe(&bytes));
    }

    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
}
