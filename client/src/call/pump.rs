//! Moves a request body into its HTTP/2 stream, as fast as the peer's window allows.
//!
//! A piece is held back until it is known whether another follows, or that this is not yet known: the
//! usual unary request then leaves as one DATA frame that also ends the stream.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::Body;

use super::replay::{Piece, Reader};
use crate::error::BoxError;

pub(super) struct Pump<B> {
    reader: Reader<B>,
    stream: SendStream<Bytes>,
    held: Option<Bytes>,
    /// The first piece goes without waiting for window: h2 keeps it until there is some.
    first: bool,
}

/// Why a request could not be sent to its end.
pub(super) enum Stopped {
    /// The caller's body failed.
    Body(BoxError),
    /// The stream is gone; its response tells why.
    Stream,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Pump<B> {
    pub(super) fn new(reader: Reader<B>, stream: SendStream<Bytes>) -> Self {
        Self { reader, stream, held: None, first: true }
    }

    /// Ready when the whole request is with h2. Must not be polled again after that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.held.is_some() && !self.first {
                ready!(self.poll_window(cx))?;
            }
            let next = self.reader.poll_next(cx).map_err(Stopped::Body);
            if let Some(data) = self.held.take() {
                self.first = false;
                let ends = matches!(next, Poll::Ready(Ok(Piece::End)));
                sent(self.stream.send_data(data, ends))?;
                if ends {
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(next)? {
                Piece::Data(data) => self.held = Some(data),
                Piece::Trailers(trailers) => {
                    return Poll::Ready(sent(self.stream.send_trailers(trailers)));
                }
                Piece::End => return Poll::Ready(sent(self.stream.send_data(Bytes::new(), true))),
            }
        }
    }

    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        while self.stream.capacity() == 0 {
            // One byte is enough to ask for: h2 cuts the piece to the windows by itself.
            self.stream.reserve_capacity(1);
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Stream)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn sent(result: Result<(), h2::Error>) -> Result<(), Stopped> {
    result.map_err(|_| Stopped::Stream)
}
