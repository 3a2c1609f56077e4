//! The response body: the stream's data and trailers, up to the call's deadline.
//!
//! A gRPC response ends with a status. A stream that ends without one was cut off, and its caller gets
//! an error, never a silent end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::answer;
use crate::call::{Cause, Pumping, Underway};
use crate::code::Code;
use crate::connection::Slot;
use crate::error::Error;
use crate::messages::{Measure, TooLong};

/// What a [`Channel`](crate::Channel) answers with.
pub struct Body(State);

enum State {
    Empty,
    Streaming(Box<Streaming>),
}

struct Streaming {
    stream: RecvStream,
    deadline: Option<Instant>,
    /// Set up at the first wait: many bodies never wait.
    alarm: Option<Pin<Box<Sleep>>>,
    in_trailers: bool,
    metadata_bytes_max: u32,
    measure: Measure,
    finish: Finish,
    /// Sends the rest of the request; ends with the response.
    pump: Option<Pumping>,
}

/// What bounds an answer.
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    /// Absent: messages may have any length.
    pub(crate) message_bytes_max: Option<u32>,
    pub(crate) metadata_bytes_max: u32,
}

/// What has to be done when an answered attempt ends: its place is given back, its outcome counted.
pub(crate) struct Finish {
    underway: Underway,
    slot: Slot,
}

impl Finish {
    pub(crate) fn new(underway: Underway, slot: Slot) -> Self {
        Self { underway, slot }
    }

    fn call_ended(&mut self, code: Code) {
        self.underway.ended(code);
        self.underway.record().call_ended(code);
    }
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(State::Empty)
    }

    pub(crate) fn streaming(
        stream: RecvStream,
        finish: Finish,
        limits: Limits,
        pump: Option<Pumping>,
    ) -> Self {
        Self(State::Streaming(Box::new(Streaming {
            stream,
            deadline: limits.deadline,
            alarm: None,
            in_trailers: false,
            metadata_bytes_max: limits.metadata_bytes_max,
            measure: limits.message_bytes_max.map_or_else(Measure::unbounded, Measure::new),
            finish,
            pump,
        })))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let State::Streaming(streaming) = &mut self.0 else { return Poll::Ready(None) };
        let event = ready!(streaming.poll(cx));
        if let Event::Data(data) = event {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        // The end, whichever: the stream, the place and the rest of the request go with it.
        let State::Streaming(streaming) = std::mem::replace(&mut self.0, State::Empty) else {
            return Poll::Ready(None);
        };
        let frame = streaming.end(event);
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Empty)
    }
}

enum Event {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The stream ended and said nothing more.
    Silence,
    Broken(h2::Error),
    TooLong(TooLong),
    Deadline,
}

impl Streaming {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(event) = self.poll_stream(cx) {
            return Poll::Ready(event);
        }
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        alarm.as_mut().poll(cx).map(|()| Event::Deadline)
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.in_trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only for more bytes than came in.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    let measured = self.measure.advance(&data);
                    self.finish.underway.received(self.measure.passed());
                    return Poll::Ready(
                        measured.map_or_else(Event::TooLong, |()| Event::Data(data)),
                    );
                }
                Some(Err(error)) => return Poll::Ready(Event::Broken(error)),
                None => self.in_trailers = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Event::Trailers(trailers),
            Ok(None) => Event::Silence,
            Err(error) => Event::Broken(error),
        })
    }

    fn end(self, event: Event) -> Result<Frame<Bytes>, Error> {
        let Self { stream, mut finish, mut pump, metadata_bytes_max, .. } = self;
        let result = match event {
            Event::Data(data) => return Ok(Frame::data(data)),
            Event::Trailers(trailers) => match status_of(&trailers, metadata_bytes_max) {
                Ok(code) => {
                    finish.call_ended(code);
                    Ok(Frame::trailers(trailers))
                }
                Err(error) => Err(error),
            },
            Event::Silence => Err(cut_off()),
            Event::Broken(error) => {
                Err(pump.as_mut().and_then(Pumping::failure).unwrap_or_else(|| {
                    let connection = finish.slot.connection();
                    let id = stream.stream_id().as_u32();
                    let cause = Cause::of_stream(&error, id, &connection.facts);
                    Error::new(cause.code(), connection.describe(&error))
                }))
            }
            Event::TooLong(too_long) => {
                Err(Error::new(Code::ResourceExhausted, format!("response {too_long}")))
            }
            Event::Deadline => Err(Error::new(
                Code::DeadlineExceeded,
                "the deadline passed before the response ended",
            )),
        };
        if let Err(error) = &result {
            finish.call_ended(error.code());
        }
        // The request's rest and the stream before the place, so that h2 has counted the stream out.
        drop(pump);
        drop(stream);
        drop(finish);
        result
    }
}

fn status_of(trailers: &HeaderMap, metadata_bytes_max: u32) -> Result<Code, Error> {
    answer::check(trailers, metadata_bytes_max)?;
    let status = trailers.get("grpc-status").ok_or_else(cut_off)?;
    Ok(Code::from_header(status.as_bytes()))
}

fn cut_off() -> Error {
    Error::new(Code::Internal, "the response ended without a status")
}
