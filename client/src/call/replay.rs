//! The request body, kept so that it can be sent again.
//!
//! Frames are pulled from the caller once, by whichever attempt gets there first, and remembered until
//! the call is committed. Two bounds: bytes per call and bytes per channel. Past either, remembering
//! stops: the attempt under way goes on, and no other can follow it ([`Source::replayable`]).

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::code::Code;
use crate::error::{BoxError, Error};
use crate::messages::Measure;

/// Bytes that all calls of a channel may remember together.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicUsize,
    per_call: usize,
}

impl Budget {
    pub(crate) fn new(per_call: usize, per_channel: usize) -> Self {
        Self { left: AtomicUsize::new(per_channel), per_call }
    }

    fn take(&self, bytes: usize) -> bool {
        let took = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, took).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The next piece of a request.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// A call's request body, shared by its attempts.
pub(super) struct Source<B> {
    inner: Arc<Mutex<Inner<B>>>,
}

struct Inner<B> {
    body: B,
    pieces: Vec<Piece>,
    /// Pieces before `pieces[0]`, forgotten because nobody will ask for them again.
    forgotten: usize,
    bytes: usize,
    mode: Mode,
    broken: bool,
    waiting: Vec<Waker>,
    budget: Arc<Budget>,
    measure: Option<Measure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Remembering,
    /// One attempt is left, and it reads on from where it is.
    Passing,
}

/// One attempt's place in the body.
pub(super) struct Reader<B> {
    inner: Arc<Mutex<Inner<B>>>,
    at: usize,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Source<B> {
    /// A body whose messages may have `bytes_max` bytes each; any number if absent.
    pub(super) fn new(body: B, budget: Arc<Budget>, bytes_max: Option<u32>) -> Self {
        let inner = Inner {
            body,
            pieces: Vec::new(),
            forgotten: 0,
            bytes: 0,
            mode: Mode::Remembering,
            broken: false,
            waiting: Vec::new(),
            budget,
            measure: bytes_max.map(Measure::new),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// A reader from the beginning. Only while [`Self::replayable`].
    pub(super) fn reader(&self) -> Reader<B> {
        Reader { inner: Arc::clone(&self.inner), at: 0 }
    }

    /// Whether the request can still be sent from its beginning.
    pub(super) fn replayable(&self) -> bool {
        let inner = lock(&self.inner);
        inner.mode == Mode::Remembering && !inner.broken
    }

    /// The call is committed to one attempt: forgets what only a retry would need.
    pub(super) fn commit(&self) {
        lock(&self.inner).pass();
    }

    /// Whether the caller's body is known to be empty.
    pub(super) fn is_empty(&self) -> bool {
        let inner = lock(&self.inner);
        inner.pieces.is_empty() && inner.forgotten == 0 && inner.body.is_end_stream()
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Reader<B> {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BoxError>> {
        let mut inner = lock(&self.inner);
        let Some(index) = self.at.checked_sub(inner.forgotten) else {
            return Poll::Ready(Err("another attempt passed the replay limit".into()));
        };
        let piece = match inner.pieces.get(index) {
            Some(piece) => piece.clone(),
            None => ready!(inner.poll_fresh(cx))?,
        };
        self.at += 1;
        if inner.mode == Mode::Passing {
            inner.forget(self.at);
        }
        Poll::Ready(Ok(piece))
    }
}

/// The body knows only whoever polled it last: when that one leaves, the others must ask again.
impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        lock(&self.inner).waiting.drain(..).for_each(Waker::wake);
    }
}

impl<B> Inner<B> {
    fn pass(&mut self) {
        self.mode = Mode::Passing;
        self.budget.give_back(std::mem::take(&mut self.bytes));
    }

    fn check(&mut self, data: &[u8]) -> Result<(), Error> {
        let Some(measure) = &mut self.measure else { return Ok(()) };
        measure.advance(data).map_err(|too_long| {
            self.broken = true;
            Error::new(Code::ResourceExhausted, format!("request {too_long}"))
        })
    }

    fn forget(&mut self, before: usize) {
        let gone = before.saturating_sub(self.forgotten).min(self.pieces.len());
        self.pieces.drain(..gone);
        self.forgotten += gone;
    }

    fn remember(&mut self, data: &Bytes) {
        if self.mode != Mode::Remembering {
            return;
        }
        let fits = self.bytes + data.len() <= self.budget.per_call;
        if fits && self.budget.take(data.len()) {
            self.bytes += data.len();
        } else {
            self.pass();
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Inner<B> {
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, BoxError>> {
        if self.broken {
            return Poll::Ready(Err("the request body failed before".into()));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                self.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let piece = match frame {
            None => Piece::End,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Piece::Data(data),
                Err(frame) => frame.into_trailers().map_or(Piece::End, Piece::Trailers),
            },
            Some(Err(error)) => {
                self.broken = true;
                return Poll::Ready(Err(error.into()));
            }
        };
        if let Piece::Data(data) = &piece {
            self.check(data)?;
            self.remember(data);
        }
        self.pieces.push(piece.clone());
        self.waiting.drain(..).for_each(Waker::wake);
        Poll::Ready(Ok(piece))
    }
}

impl<B> Drop for Inner<B> {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// A caller's body that panicked while it was polled leaves nothing half done in here.
fn lock<B>(inner: &Mutex<Inner<B>>) -> MutexGuard<'_, Inner<B>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
