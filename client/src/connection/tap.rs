//! The transport with an ear on it: passes bytes through and writes [`Facts`] down.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::facts::Facts;
use super::frames::Frames;

/// `PRI * HTTP/2.0 …`, which a client writes before its first frame.
const CLIENT_PREFACE_LEN: usize = 24;

pub(super) struct Tap<I> {
    io: I,
    inbound: Frames,
    outbound: Frames,
    has_read: bool,
    facts: Arc<Facts>,
}

impl<I> Tap<I> {
    pub(super) fn new(io: I, facts: Arc<Facts>) -> Self {
        let (inbound, outbound) = (Frames::after(0), Frames::after(CLIENT_PREFACE_LEN));
        Self { io, inbound, outbound, has_read: false, facts }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.outbound.advance(bytes, |seen| self.facts.wrote(&seen));
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Tap<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(&mut this.io).poll_read(cx, buf)) {
            this.facts.failed(&error);
            return Poll::Ready(Err(error));
        }
        let fresh = &buf.filled()[before..];
        if !fresh.is_empty() {
            if !this.has_read {
                this.facts.began_with(fresh);
                this.has_read = true;
            }
            this.facts.mark_read();
            this.inbound.advance(fresh, |seen| this.facts.read(seen));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tap<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let part = left.min(slice.len());
            self.wrote(&slice[..part]);
            left -= part;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
