//! Moves a request body into its HTTP/2 stream, as fast as the peer's window allows.
//!
//! A piece is held back until it is known whether another follows, or that this is not yet known: the
//! usual unary request then leaves as one DATA frame that also ends the stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::replay::{Piece, Reader};
use crate::error::{BoxError, Error};
use crate::messages::Measure;

pub(super) struct Pump<B> {
    reader: Reader<B>,
    stream: SendStream<Bytes>,
    held: Option<Bytes>,
    /// The first piece goes without waiting for window: h2 keeps it until there is some.
    first: bool,
    measure: Measure,
}

/// Why a request could not be sent to its end.
pub(super) enum Stopped {
    /// The caller's body failed.
    Body(BoxError),
    /// The stream is gone; its response tells why.
    Stream,
}

/// A pump with a task of its own, for the rest of a request whose response has begun. Ends with it.
pub(crate) struct Pumping {
    failed: oneshot::Receiver<Error>,
    sent_bytes: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl Pumping {
    /// What was wrong with the caller's body, if that is what ended the stream.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        self.failed.try_recv().ok()
    }

    /// Where it counts the bytes of messages sent.
    pub(super) fn sent_bytes(&self) -> &Arc<AtomicU64> {
        &self.sent_bytes
    }
}

impl<B> Pump<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    /// Goes on by itself. A body that fails resets the stream: a server must not take what came so far
    /// for all there is, and nobody must wait for more.
    pub(super) fn detach(mut self) -> Pumping {
        let (fail, failed) = oneshot::channel();
        let sent_bytes = Arc::new(AtomicU64::new(self.sent_bytes()));
        let counted = Arc::clone(&sent_bytes);
        let task = tokio::spawn(async move {
            let whole = poll_fn(|cx| {
                let polled = self.poll(cx);
                counted.store(self.sent_bytes(), Ordering::Relaxed);
                polled
            });
            // A stream that is gone shows in the response.
            if let Err(Stopped::Body(error)) = whole.await {
                // Nobody listens when the response is over; the reset comes second, so that whoever
                // it wakes finds the reason.
                let _ = fail.send(Error::request_body(error));
                self.stream.send_reset(Reason::CANCEL);
            }
        });
        Pumping { failed, sent_bytes, _task: AbortOnDropHandle::new(task) }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Pump<B> {
    pub(super) fn new(reader: Reader<B>, stream: SendStream<Bytes>) -> Self {
        Self { reader, stream, held: None, first: true, measure: Measure::unbounded() }
    }

    /// Bytes of messages that h2 took so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.measure.passed()
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
                // Nothing is too long for an unbounded measure.
                let _ = self.measure.advance(&data);
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
