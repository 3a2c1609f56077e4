//! HTTP/2 as bytes, for what no client library does on purpose.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const INITIAL_WINDOW_SIZE: u16 = 4;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a server said, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Bytes of an answer.
    Data {
        /// Whose.
        stream: u32,
    },
    /// A stream is reset.
    Reset {
        /// Which.
        stream: u32,
    },
    /// A PING that wants to be acknowledged.
    Ping([u8; 8]),
    /// Leave; 0 is no error.
    GoAway {
        /// The code of the error.
        error: u32,
    },
    /// The connection is closed.
    Closed,
}

/// Frames that are written together.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    fn frame(mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        let length = u32::try_from(payload.len()).expect("frames here are small").to_be_bytes();
        self.0.extend_from_slice(&length[1..]);
        self.0.extend_from_slice(&[kind, flags]);
        self.0.extend_from_slice(&stream.to_be_bytes());
        self.0.extend_from_slice(payload);
        self
    }

    /// A unary gRPC call with a protobuf message.
    #[must_use]
    pub fn call(self, stream: u32, path: &str, message: &[u8]) -> Self {
        let length = u32::try_from(message.len()).expect("messages here are small").to_be_bytes();
        let body = [&[0][..], &length, message].concat();
        self.head(stream, path, &[]).body(stream, &body)
    }

    /// All of a call's body: each message with its prefix.
    #[must_use]
    pub fn body(self, stream: u32, bytes: &[u8]) -> Self {
        self.frame(DATA, END_STREAM, stream, bytes)
    }

    /// The head of a gRPC call, and nothing of its body.
    #[must_use]
    pub fn head(self, stream: u32, path: &str, more: &[(&str, &str)]) -> Self {
        // HPACK, RFC 7541: two entries of the static table, then literals that are not indexed.
        let mut block = vec![0x83, 0x86];
        let mut literal = |name: &[u8], value: &str| {
            block.extend_from_slice(name);
            block.push(u8::try_from(value.len()).expect("values here are short"));
            block.extend_from_slice(value.as_bytes());
        };
        literal(&[0x04], path);
        literal(&[0x01], "server");
        literal(b"\x00\x0ccontent-type", "application/grpc");
        literal(b"\x00\x02te", "trailers");
        for (name, value) in more {
            let length = u8::try_from(name.len()).expect("names here are short");
            literal(&[&[0, length], name.as_bytes()].concat(), value);
        }
        self.frame(HEADERS, END_HEADERS, stream, &block)
    }

    /// One more byte may be sent.
    #[must_use]
    pub fn window_update(self, stream: u32) -> Self {
        self.frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())
    }

    /// The answer to a PING.
    #[must_use]
    pub fn ping_ack(self, payload: [u8; 8]) -> Self {
        self.frame(PING, ACK, 0, &payload)
    }
}

/// A client's end of a connection.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    /// Connects and says hello.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(server: SocketAddr) -> io::Result<Self> {
        Self::connect_with_window(server, 65_535).await
    }

    /// As [`Wire::connect`]; on each stream it takes so many bytes of an answer before it says that it takes more.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn connect_with_window(server: SocketAddr, window: u32) -> io::Result<Self> {
        let mut wire = Self(TcpStream::connect(server).await?);
        let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
        let hello = Frames(PREFACE.to_vec()).frame(SETTINGS, 0, 0, &setting);
        wire.write(hello).await;
        Ok(wire)
    }

    /// Writes frames in one piece. A server that has closed is seen by [`Wire::read`].
    pub async fn write(&mut self, frames: Frames) {
        let _written_or_closed = self.0.write_all(&frames.0).await;
    }

    /// The next thing said; settings are acknowledged on the way.
    pub async fn read(&mut self) -> Said {
        loop {
            let Some((kind, flags, stream, payload)) = self.frame().await else {
                return Said::Closed;
            };
            match kind {
                RST_STREAM => return Said::Reset { stream },
                DATA if !payload.is_empty() => return Said::Data { stream },
                PING if flags & ACK == 0 => {
                    return Said::Ping(payload.try_into().expect("a PING has eight bytes"));
                }
                GOAWAY => {
                    let error = payload[4..8].try_into().expect("four bytes");
                    return Said::GoAway { error: u32::from_be_bytes(error) };
                }
                SETTINGS if flags & ACK == 0 => {
                    self.write(Frames::default().frame(SETTINGS, ACK, 0, &[])).await;
                }
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).expect("24 bits")];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }
}
