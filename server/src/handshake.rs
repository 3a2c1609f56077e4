//! From an accepted socket to HTTP/2. The caller sets the deadline.
//!
//! The client's preface is read here, before hyper sees the connection: hyper has no deadline
//! for it, and a client that connects and stays silent would hold memory and the drain.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::error::Elapsed;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::PeerCertificate;

/// RFC 9113 §3.4.
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a connection never came to HTTP/2.
#[derive(Debug, Error)]
pub(crate) enum HandshakeError {
    #[error("not done in time")]
    Late(#[from] Elapsed),
    #[error("not HTTP/2")]
    NotHttp2,
    #[error("connection broke")]
    Broken(#[from] io::Error),
}

/// Reads the preface and answers a stream that starts with it again.
pub(crate) async fn plain<S>(mut stream: S) -> Result<Prefaced<S>, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let mut received = [0; PREFACE.len()];
    stream.read_exact(&mut received).await?;
    if received != PREFACE {
        return Err(HandshakeError::NotHttp2);
    }
    Ok(Prefaced { stream, replayed: 0 })
}

/// As [`plain`], after a TLS handshake, with what the client proved in it.
pub(crate) async fn encrypted<S>(
    stream: S,
    acceptor: TlsAcceptor,
) -> Result<(Prefaced<TlsStream<S>>, Option<PeerCertificate>), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = acceptor.accept(stream).await?;
    let peer = PeerCertificate::of(stream.get_ref().1);
    Ok((plain(stream).await?, peer))
}

/// A stream whose reader sees the preface once more.
#[derive(Debug)]
pub(crate) struct Prefaced<S> {
    stream: S,
    replayed: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefaced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.replayed < PREFACE.len() {
            let end = PREFACE.len().min(self.replayed + buffer.remaining());
            buffer.put_slice(&PREFACE[self.replayed..end]);
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

    #[tokio::test]
    async fn the_preface_is_read_again_in_pieces_of_any_size_and_then_the_rest() {
        let (mut client, server) = duplex(64);
        client.write_all(&PREFACE).await.unwrap();
        client.write_all(b"frames").await.unwrap();
        drop(client);
        let mut stream = plain(server).await.unwrap();
        let mut first = [0; 5];
        stream.read_exact(&mut first).await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first.as_slice(), &rest].concat(), [PREFACE.as_slice(), b"frames"].concat());
    }

    #[tokio::test]
    async fn http_1_is_told_from_http_2() {
        let (mut client, server) = duplex(64);
        client.write_all(b"GET /q/health/live HTTP/1.1\r\n").await.unwrap();
        let refused = plain(server).await.unwrap_err();
        assert!(matches!(refused, HandshakeError::NotHttp2), "{refused}");
    }
}
