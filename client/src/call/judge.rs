//! One attempt of a call, and what its answer means: committed, or a failure that may be followed by
//! another attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use h2::RecvStream;
use http::{HeaderMap, Response};

use super::attempt::{self, Answered, Broken};
use super::pick::{self, NoPlace};
use super::pump::Pump;
use super::retry::{Failed, Pushback};
use super::{Call, Class, RequestBody, Underway};
use crate::answer;
use crate::body::{Body, Finish, Limits};
use crate::code::Code;
use crate::config::{Recovery, RetryPolicy};
use crate::connection::Slot;
use crate::error::Error;

/// What the caller gets of an attempt: a server's status, or the channel's error.
pub(super) type Outcome = Result<(Response<Body>, Code), Error>;

/// An attempt that failed, and what the caller gets if none follows.
pub(super) struct Failure {
    pub(super) failed: Failed,
    pub(super) outcome: Outcome,
}

impl Failure {
    fn new(failed: Failed, outcome: Outcome) -> Box<Self> {
        Box::new(Self { failed, outcome })
    }
}

impl<B: RequestBody> Call<B> {
    /// Picks, sends, and waits for the response's headers.
    pub(super) async fn attempt(&self, previous: u32) -> Result<Response<Body>, Box<Failure>> {
        let slot = pick::acquire(&self.shared, self.avoid(), self.plan.wait_for_ready)
            .await
            .map_err(no_place)?;
        let endpoint = Arc::clone(&slot.connection().endpoint);
        self.tried_last.store(endpoint.id.raw(), Ordering::Relaxed);
        let mut underway = Underway::begin(&self.record, &endpoint, self.plan.deadline);
        let limit = match &self.plan.config.recovery {
            Recovery::Retry(RetryPolicy { attempt_timeout, .. }) => *attempt_timeout,
            Recovery::None | Recovery::Hedge(_) => None,
        };
        let request = self.plan.request(previous);
        match attempt::send(slot, request, &self.source, limit, &underway).await {
            Ok(answered) => self.judge(answered, underway),
            Err(Broken::Body(error)) => {
                let failed = Failed::Transport(Class::Final);
                Err(Failure::new(failed, Err(Error::request_body(error))))
            }
            Err(Broken::Transport { cause, message }) => {
                let (class, code) = (cause.class(), cause.code());
                underway.broke(class, code);
                Err(Failure::new(Failed::Transport(class), Err(Error::new(code, message))))
            }
        }
    }

    /// A response without a message that names a failure may be tried again; any other is committed.
    fn judge(
        &self,
        answered: Answered<B>,
        underway: Underway,
    ) -> Result<Response<Body>, Box<Failure>> {
        let (head, stream) = answered.response.into_parts();
        let setup = &self.shared.setup;
        let verdict = answer::check(&head.headers, setup.metadata_bytes_max)
            .and_then(|()| answer::not_grpc(head.status, &head.headers).map_or(Ok(()), Err));
        let pushback = Pushback::read(&head.headers);
        let (code, outcome) = match verdict {
            Err(error) => (error.code(), Err(error)),
            Ok(()) => match status_without_message(&head.headers, &stream) {
                Some(code) => (code, Ok((Response::from_parts(head, Body::empty()), code))),
                None => {
                    let committed = Response::from_parts(head, stream);
                    return Ok(self.commit(committed, answered.pump, answered.slot, underway));
                }
            },
        };

        let mut underway = underway;
        underway.ended(code);
        // The stream before the place, so that h2 has counted it out.
        drop((answered.pump, stream));
        drop(answered.slot);
        match outcome {
            Ok((response, Code::Ok)) => {
                self.record.call_ended(Code::Ok);
                Ok(response)
            }
            outcome @ (Ok(_) | Err(_)) => {
                Err(Failure::new(Failed::Status(code, pushback), outcome))
            }
        }
    }

    /// Hands the answer on; from here on it is never replaced.
    fn commit(
        &self,
        response: Response<RecvStream>,
        pump: Option<Pump<B>>,
        slot: Slot,
        mut underway: Underway,
    ) -> Response<Body> {
        self.source.commit();
        let pump = pump.map(Pump::detach);
        if let Some(pump) = &pump {
            underway.goes_on_sending(pump.sent_bytes());
        }
        let finish = Finish::new(underway, slot);
        let limits = Limits {
            deadline: self.plan.deadline,
            message_bytes_max: self.plan.config.response_bytes_max,
            metadata_bytes_max: self.shared.setup.metadata_bytes_max,
        };
        response.map(|stream| Body::streaming(stream, finish, limits, pump))
    }
}

/// The status of a response that has nothing but headers ("Trailers-Only").
fn status_without_message(headers: &HeaderMap, stream: &RecvStream) -> Option<Code> {
    let status = headers.get("grpc-status").filter(|_| stream.is_end_stream())?;
    Some(Code::from_header(status.as_bytes()))
}

fn no_place(reason: NoPlace) -> Box<Failure> {
    let (failed, code, message) = match reason {
        NoPlace::Unreachable(why) => (Failed::Unreachable, Code::Unavailable, why.to_string()),
        NoPlace::Crowded => (
            Failed::Transport(Class::Final),
            Code::ResourceExhausted,
            "too many calls wait for an endpoint".to_owned(),
        ),
        NoPlace::Closed => {
            (Failed::Transport(Class::Final), Code::Unavailable, "the channel is closed".to_owned())
        }
    };
    Failure::new(failed, Err(Error::new(code, message)))
}
