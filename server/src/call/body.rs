//! The answer on its way out: its end recorded, its deadline kept, its panics caught.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::{Code, Status};

use super::deadline::{self, Deadline};
use super::panicked;
use super::record::Record;
use crate::streams;

/// A response body that always ends in trailers: those of the handler, or those of what cut it
/// off. One that its peer does not read is reset after its deadline ([`streams`]). Dropped before its end, the call is recorded as CANCELLED.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    /// `None` once the end was sent.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    body: tonic::body::Body,
    record: Record,
    deadline: Option<Deadline>,
    /// Made when the body first has to be waited for, which a unary answer never needs.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    /// A status instead of a response, in headers alone.
    pub(super) fn refusal(status: Status, record: &mut Record) -> Response<Self> {
        record.refused(&status);
        record.end(status.code());
        status.into_http::<()>().map(|()| Self { open: None })
    }

    /// Follows the handler's response to its end.
    pub(super) fn wrap(
        response: Response<tonic::body::Body>,
        mut record: Record,
        deadline: Option<Deadline>,
    ) -> Response<Self> {
        if let Some(code) = code_in(response.headers()) {
            record.refused_in(response.headers());
            record.end(code);
        }
        if let Some(Deadline(at)) = deadline {
            streams::cut_at(at);
        }
        response.map(|body| Self { open: Some(Open { body, record, deadline, sleep: None }) })
    }

    /// Ends the body with these trailers.
    fn end_with(&mut self, status: &Status) -> Option<Result<Frame<Bytes>, Status>> {
        if let Some(mut open) = self.open.take() {
            open.record.end(status.code());
        }
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Some(added.map(|()| Frame::trailers(trailers)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let _entered = open.record.span().clone().entered();
        let polled =
            catch_unwind(AssertUnwindSafe(|| Pin::new(&mut open.body).poll_frame(context)));
        match polled {
            Err(panic) => Poll::Ready(self.end_with(&panicked(panic.as_ref()))),
            Ok(Poll::Pending) if open.is_late(context) => {
                Poll::Ready(self.end_with(&deadline::exceeded()))
            }
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Some(Err(status)))) => Poll::Ready(self.end_with(&status)),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    open.record.end(code_in(trailers).unwrap_or(Code::Unknown));
                    self.open = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(Poll::Ready(None)) => {
                open.record.end(Code::Unknown);
                self.open = None;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.open.as_ref().map_or_else(|| SizeHint::with_exact(0), |open| open.body.size_hint())
    }
}

impl Open {
    /// Whether the deadline has passed; else arranges to be woken when it does.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(Deadline(at)) = self.deadline else { return false };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        sleep.as_mut().poll(context).is_ready()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|raw| Code::from_bytes(raw.as_bytes()))
}
