//! From an accepted socket to HTTP/2, or to HTTP/1.1 where that is served too. The caller sets the deadline.
//!
//! The client's first bytes are read here, before hyper sees the connection: hyper has no deadline
//! for them, and a client that connects and stays silent would hold memory and the drain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError, InvalidMessage};
use tokio_rustls::server::TlsStream;

use crate::PeerCertificate;

/// RFC 9113 §3.4.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// What a client gets whose preface is wrong: SETTINGS and GOAWAY with PROTOCOL_ERROR (RFC 9113
/// §3.4). A TLS client takes it for what it is, an answer in plaintext, and says so.
const NOT_THIS_WAY: [u8; 26] = [
    0, 0, 0, 4, 0, 0, 0, 0, 0, // SETTINGS, empty
    0, 0, 8, 7, 0, 0, 0, 0, 0, // GOAWAY
    0, 0, 0, 0, 0, 0, 0, 1, // no stream was read; PROTOCOL_ERROR
];

/// What a client gets that speaks HTTP/1 where only HTTP/2 is served. A browser shows it, and so does curl.
const HTTP_1_REFUSED: &[u8] = b"HTTP/1.1 426 Upgrade Required\r\n\
    upgrade: HTTP/2.0\r\n\
    connection: upgrade, close\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 77\r\n\
    \r\n\
    this port speaks gRPC over HTTP/2; health and metrics are on the admin port\r\n";

/// How long a client whose handshake failed has to read why, and how much it may still send: a
/// socket that is closed with something unread takes back what was written last.
const SEE_OFF: Duration = Duration::from_millis(250);
const SEE_OFF_BYTES: u64 = 64 << 10;

/// Why a connection never came to HTTP/2.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    #[error("not done in time")]
    Late(#[from] Elapsed),
    #[error("the client speaks TLS, and this port does not")]
    TlsToPlaintext,
    #[error("the client does not speak TLS, and this port does")]
    PlaintextToTls,
    #[error("the client speaks HTTP/1, and this port speaks HTTP/2")]
    Http1,
    #[error("not HTTP/2")]
    NotHttp2,
    #[error("TLS")]
    Tls(#[source] rustls::Error),
    #[error("connection broke")]
    Broken(#[from] io::Error),
}

/// A failed handshake, and the socket, where there is something to say on it.
#[derive(Debug)]
pub(crate) struct Failed<S = TcpStream> {
    pub(crate) why: HandshakeError,
    pub(crate) stream: Option<S>,
}

impl<S> From<Elapsed> for Failed<S> {
    fn from(elapsed: Elapsed) -> Self {
        Self { why: elapsed.into(), stream: None }
    }
}

impl HandshakeError {
    fn of_tls(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            // A record of a type that TLS does not have.
            Ok(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                Self::PlaintextToTls
            }
            Ok(why) => Self::Tls(why),
            Err(broken) => Self::Broken(broken),
        }
    }

    /// Whether the client left without a word.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// In one of a bounded number of words.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Late(_) => "late",
            Self::TlsToPlaintext => "tls_to_plaintext",
            Self::PlaintextToTls => "plaintext_to_tls",
            Self::Http1 => "http1",
            Self::NotHttp2 => "not_http2",
            Self::Broken(_) => "closed",
            Self::Tls(why) => reason_of_tls(why),
        }
    }
}

fn reason_of_tls(why: &rustls::Error) -> &'static str {
    if let rustls::Error::InvalidCertificate(why) = why {
        return reason_of_certificate(why);
    }
    if let rustls::Error::AlertReceived(alert) = why {
        let about_certificate = [
            AlertDescription::BadCertificate,
            AlertDescription::CertificateExpired,
            AlertDescription::CertificateRevoked,
            AlertDescription::CertificateUnknown,
            AlertDescription::UnknownCA,
            AlertDescription::UnsupportedCertificate,
        ];
        let refuses_ours = about_certificate.contains(alert);
        return if refuses_ours { "client_refuses_certificate" } else { "client_refuses" };
    }
    if matches!(why, rustls::Error::NoCertificatesPresented) {
        return "certificate_missing";
    }
    if matches!(why, rustls::Error::NoApplicationProtocol) { "not_http2" } else { "tls" }
}

fn reason_of_certificate(why: &CertificateError) -> &'static str {
    if matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. }) {
        return "certificate_expired";
    }
    if matches!(why, CertificateError::Revoked) {
        return "certificate_revoked";
    }
    if matches!(why, CertificateError::UnknownIssuer) {
        return "certificate_of_unknown_issuer";
    }
    if matches!(why, CertificateError::UnknownRevocationStatus) {
        return "certificate_without_crl";
    }
    "certificate_invalid"
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads the first bytes and answers a stream that starts with them again. HTTP/1 is an error unless it is `allowed`.
pub(crate) async fn plain<S>(mut stream: S, http1_allowed: bool) -> Result<Prefaced<S>, Failed<S>>
where
    S: AsyncRead + Unpin,
{
    match read_hello(&mut stream).await {
        Ok((Protocol::Http1, _)) if !http1_allowed => {
            Err(Failed { why: HandshakeError::Http1, stream: Some(stream) })
        }
        Ok((protocol, hello)) => Ok(Prefaced { stream, protocol, hello, replayed: 0 }),
        Err(why) => {
            let stream = (!why.is_silent()).then_some(stream);
            Err(Failed { why, stream })
        }
    }
}

/// As [`plain`], after a TLS handshake, with what the client proved in it.
pub(crate) async fn encrypted<S>(
    stream: S,
    acceptor: TlsAcceptor,
    http1_allowed: bool,
) -> Result<(Prefaced<TlsStream<S>>, Option<PeerCertificate>), Failed<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = acceptor.accept(stream).into_fallible().await.map_err(|(error, stream)| {
        let why = HandshakeError::of_tls(error);
        let stream = (!why.is_silent()).then_some(stream);
        Failed { why, stream }
    })?;
    let peer = PeerCertificate::of(stream.get_ref().1);
    match plain(stream, http1_allowed).await {
        Ok(prefaced) => Ok((prefaced, peer)),
        Err(Failed { why, stream }) => {
            // Who shook hands is told nothing more in plaintext, so it is told here.
            if let Some(stream) = stream {
                see_off(stream, &why).await;
            }
            Err(Failed { why, stream: None })
        }
    }
}

/// As many of a client's first bytes as it takes to tell what it speaks.
#[derive(Clone, Copy, Debug)]
struct Hello {
    bytes: [u8; PREFACE.len()],
    length: usize,
}

async fn read_hello(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<(Protocol, Hello), HandshakeError> {
    let mut hello = Hello { bytes: [0; PREFACE.len()], length: 0 };
    while hello.length < PREFACE.len() {
        let read = stream.read(&mut hello.bytes[hello.length..]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        hello.length += read;

        let received = &hello.bytes[..hello.length];
        if received[0] == TLS_HANDSHAKE {
            return Err(HandshakeError::TlsToPlaintext);
        }
        // No more is waited for than it takes to tell.
        if *received != PREFACE[..hello.length] {
            let is_http1 = begins_with_a_method(received);
            return if is_http1 {
                Ok((Protocol::Http1, hello))
            } else {
                Err(HandshakeError::NotHttp2)
            };
        }
    }
    Ok((Protocol::Http2, hello))
}

/// Whether these bytes are the beginning of a request of HTTP/1, as far as they go. PRI is a method for HTTP/2's preface
/// alone.
fn begins_with_a_method(received: &[u8]) -> bool {
    let letters = received.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    match received.split_at(letters) {
        ([] | b"PRI", _) | (_, [..=b'\x1f' | b'!'.., ..]) => false,
        (_, [] | [b' ', ..]) => true,
    }
}

/// Lets a client whose handshake failed read why before the socket is closed.
pub(crate) async fn see_off<S>(mut stream: S, why: &HandshakeError)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let last_words: &[u8] = match why {
        HandshakeError::TlsToPlaintext | HandshakeError::NotHttp2 => &NOT_THIS_WAY,
        HandshakeError::Http1 => HTTP_1_REFUSED,
        // rustls has written its alert.
        HandshakeError::PlaintextToTls | HandshakeError::Tls(_) => &[],
        HandshakeError::Late(_) | HandshakeError::Broken(_) => return,
    };
    let leaving = async {
        stream.write_all(last_words).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(SEE_OFF_BYTES), &mut tokio::io::sink()).await
    };
    // A client that does not listen misses it.
    let _heard_or_not = timeout(SEE_OFF, leaving).await;
}

/// A stream whose reader sees the first bytes once more.
#[derive(Debug)]
pub(crate) struct Prefaced<S> {
    stream: S,
    protocol: Protocol,
    hello: Hello,
    replayed: usize,
}

impl<S> Prefaced<S> {
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replayed < self.hello.length {
            let end = self.hello.length.min(self.replayed + buffer.remaining());
            buffer.put_slice(&self.hello.bytes[self.replayed..end]);
            self.replayed = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefaced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// What a client that says this, and then leaves, is taken for, and what it is told.
    async fn seen_off(hello: &[u8], http1_allowed: bool) -> (HandshakeError, Vec<u8>) {
        let (mut client, server) = duplex(512);
        client.write_all(hello).await.unwrap();
        let Failed { why, stream } = plain(server, http1_allowed).await.unwrap_err();
        let mut answer = Vec::new();
        let (_, read) =
            tokio::join!(see_off(stream.unwrap(), &why), client.read_to_end(&mut answer));
        read.unwrap();
        (why, answer)
    }

    #[tokio::test]
    async fn the_first_bytes_are_read_again_in_pieces_of_any_size_and_then_the_rest() {
        for (hello, protocol) in
            [(PREFACE.as_slice(), Protocol::Http2), (b"POST / HTTP/1.1\r\n", Protocol::Http1)]
        {
            let (mut client, server) = duplex(64);
            client.write_all(hello).await.unwrap();
            client.write_all(b"and the rest of it").await.unwrap();
            drop(client);
            let mut stream = plain(server, true).await.unwrap();
            assert_eq!(stream.protocol(), protocol);
            let mut first = [0; 5];
            stream.read_exact(&mut first).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!([first.as_slice(), &rest].concat(), [hello, b"and the rest of it"].concat());
        }
    }

    #[tokio::test]
    async fn http_1_is_told_from_http_2_and_answered_in_its_own_words() {
        for hello in [&b"GET /q/health/live HTTP/1.1\r\n"[..], b"PUT", b"OPTIONS * HTTP/1.0"] {
            let (why, answer) = seen_off(hello, false).await;
            assert_eq!(why.reason(), "http1");
            let answer = String::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{head}");
            assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        }
    }

    #[tokio::test]
    async fn what_is_neither_is_told_from_its_first_bytes_and_answered() {
        for (hello, reason) in [
            (&[TLS_HANDSHAKE, 3, 1][..], "tls_to_plaintext"),
            (b"SSH-2.0-OpenSSH", "not_http2"),
            (b"PRI * HTTP/3.0", "not_http2"),
            (b"\0\0\0\x04", "not_http2"),
        ] {
            let (why, answer) = seen_off(hello, true).await;
            assert_eq!(why.reason(), reason);
            assert_eq!(answer, NOT_THIS_WAY);
        }
    }

    #[tokio::test]
    async fn who_leaves_without_a_word_is_told_nothing() {
        let (client, server) = duplex(64);
        drop(client);
        let Failed { why, stream } = plain(server, true).await.unwrap_err();
        assert!(why.is_silent() && stream.is_none(), "{why}");
    }
}
