//! A server that speaks HTTP/2 one frame at a time, so that a test can say exactly what goes wrong.
//!
//! Requests are not decoded: a script knows what its own test sent. Answers are encoded by hand.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const ACK: u8 = 1;

/// RST_STREAM and GOAWAY reasons.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// `SETTINGS_MAX_CONCURRENT_STREAMS`.
pub(crate) const MAX_STREAMS: u16 = 3;

/// Nothing here takes long; a script that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Peer {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// One connection, after the prefaces.
pub(crate) struct Wire {
    socket: TcpStream,
    /// Streams whose response headers were sent.
    begun: HashSet<u32>,
}

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// A connection on which nothing was said yet.
    pub(crate) async fn accept_raw(&self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (socket, _) = accepted.expect("a connection in time").unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A connection with both prefaces and these settings sent.
    pub(crate) async fn accept_with(&self, settings: &[(u16, u32)]) -> Wire {
        let mut socket = self.accept_raw().await;
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        let mut wire = Wire { socket, begun: HashSet::new() };
        wire.settings(settings).await;
        wire
    }

    pub(crate) async fn accept(&self) -> Wire {
        self.accept_with(&[]).await
    }

    /// Whether somebody is connecting within this time.
    pub(crate) async fn is_left_alone(&self, time: Duration) -> bool {
        timeout(time, self.listener.accept()).await.is_err()
    }
}

impl Wire {
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(body);
        self.socket.write_all(&frame).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // The other side may hang up in the middle of nonsense.
        let _ = self.socket.write_all(bytes).await;
    }

    pub(crate) async fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut body = Vec::new();
        for (id, value) in settings {
            body.extend_from_slice(&id.to_be_bytes());
            body.extend_from_slice(&value.to_be_bytes());
        }
        self.send(SETTINGS, 0, 0, &body).await;
    }

    /// The next frame; acknowledges settings and pings on the way. Absent at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = timeout(PATIENCE, self.read()).await.expect("a frame in time")?;
            match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]).await,
                (PING, 0) => self.send(PING, ACK, 0, &frame.body).await,
                (SETTINGS, _) => {}
                _ => return Some(frame),
            }
        }
    }

    /// The next frame, nothing answered by itself.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.ok()?;
        Some(Frame { kind: head[3], flags: head[4], stream, body })
    }

    /// The stream of the next request, once all of it is here.
    pub(crate) async fn request(&mut self) -> u32 {
        loop {
            let frame = self.next().await.expect("a request before the end");
            let ends = frame.flags & END_STREAM != 0;
            if matches!(frame.kind, HEADERS | DATA) && ends {
                return frame.stream;
            }
        }
    }

    pub(crate) async fn response_headers(&mut self, stream: u32) {
        self.begun.insert(stream);
        let mut block = vec![0x88];
        field(&mut block, "content-type", "application/grpc");
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    /// The same in a HEADERS frame and a CONTINUATION.
    pub(crate) async fn response_headers_continued(&mut self, stream: u32) {
        let mut block = vec![0x88];
        field(&mut block, "content-type", "application/grpc");
        let (begun, rest) = block.split_at(9);
        self.send(HEADERS, 0, stream, begun).await;
        self.send(CONTINUATION, END_HEADERS, stream, rest).await;
    }

    /// An HTTP status of three digits with these fields; a body may follow.
    pub(crate) async fn http(&mut self, stream: u32, status: &str, fields: &[(&str, &str)]) {
        // Literal value, the name `:status` from the static table (RFC 7541, Appendix A, 8).
        let mut block = vec![8, 3];
        block.extend_from_slice(status.as_bytes());
        fields.iter().for_each(|(name, value)| field(&mut block, name, value));
        self.send(HEADERS, END_HEADERS, stream, &block).await;
    }

    pub(crate) async fn message(&mut self, stream: u32, text: &str) {
        let mut body = vec![0];
        body.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        self.send(DATA, 0, stream, &body).await;
    }

    pub(crate) async fn trailers(&mut self, stream: u32, status: &str) {
        self.trailers_with(stream, &[("grpc-status", status)]).await;
    }

    pub(crate) async fn trailers_with(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        fields.iter().for_each(|(name, value)| field(&mut block, name, value));
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block).await;
    }

    /// A whole good answer.
    pub(crate) async fn reply(&mut self, stream: u32, text: &str) {
        self.response_headers(stream).await;
        self.message(stream, text).await;
        self.trailers(stream, "0").await;
    }

    /// A status and nothing else ("Trailers-Only").
    pub(crate) async fn refuse(&mut self, stream: u32, fields: &[(&str, &str)]) {
        let mut block = vec![0x88];
        field(&mut block, "content-type", "application/grpc");
        fields.iter().for_each(|(name, value)| field(&mut block, name, value));
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block).await;
    }

    /// An end whose fields decode to more than so many bytes: one long field, then many references
    /// to it, so that the frames stay few.
    pub(crate) async fn long_headers(&mut self, stream: u32, bytes: usize) {
        const VALUE: usize = 100;
        let mut block = Vec::new();
        if self.begun.insert(stream) {
            block.push(0x88);
        }
        // Literal with incremental indexing, then its place at the head of the dynamic table.
        block.extend_from_slice(&[0x40, 6]);
        block.extend_from_slice(b"x-long");
        block.push(u8::try_from(VALUE).unwrap());
        block.extend_from_slice(&[b'x'; VALUE]);
        let listed = VALUE + "x-long".len() + 32;
        block.extend(std::iter::repeat_n(0x80 | 62, bytes.div_ceil(listed)));
        field(&mut block, "grpc-status", "0");
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &block).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, reason: u32) {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    pub(crate) async fn goaway(&mut self, last_stream: u32, reason: u32, debug: &[u8]) {
        let mut body = last_stream.to_be_bytes().to_vec();
        body.extend_from_slice(&reason.to_be_bytes());
        body.extend_from_slice(debug);
        self.send(GOAWAY, 0, 0, &body).await;
    }
}

/// A literal header field that no table remembers (RFC 7541, 6.2.2).
fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 127, "longer texts need more than one byte of length");
        block.push(length);
        block.extend_from_slice(text.as_bytes());
    }
}
