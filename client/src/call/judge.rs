//! One attempt of a call, and what its answer means: committed, or a failure that may be followed by
//! another attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};

use super::attempt::{self, Answered, Broken};
use super::pick::{self, NoPlace};
use super::pump::Pump;
use super::retry::{Failed, Pushback};
use super::{Call, Class, RequestBody, Underway};
use crate::body::{Body, Finish};
use crate::code::Code;
use crate::config::{Recovery, RetryPolicy};
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
        mut underway: Underway,
    ) -> Result<Response<Body>, Box<Failure>> {
        let Answered { response, pump, slot } = answered;
        let (parts, stream) = response.into_parts();
        let Some(code) = status_without_message(parts.status, &parts.headers, &stream) else {
            self.source.commit();
            let bytes_max = self.plan.config.response_bytes_max;
            let pump = pump.map(Pump::detach);
            if let Some(pump) = &pump {
                underway.goes_on_sending(pump.sent_bytes());
            }
            let finish = Finish::new(underway, slot);
            let body = Body::streaming(stream, finish, self.plan.deadline, bytes_max, pump);
            return Ok(Response::from_parts(parts, body));
        };
        let pushback = Pushback::read(&parts.headers);
        let response = Response::from_parts(parts, Body::empty());
        underway.ended(code);
        // The stream before the place, so that h2 has counted it out.
        drop((pump, stream));
        drop(slot);
        if code == Code::Ok {
            self.record.call_ended(code);
            return Ok(response);
        }
        Err(Failure::new(Failed::Status(code, pushback), Ok((response, code))))
    }
}

/// The status of a response that has nothing but headers ("Trailers-Only"), or that comes from
/// something else than a gRPC server.
fn status_without_message(
    http: StatusCode,
    headers: &HeaderMap,
    stream: &RecvStream,
) -> Option<Code> {
    match headers.get("grpc-status") {
        Some(value) if stream.is_end_stream() => Some(Code::from_header(value.as_bytes())),
        None if http != StatusCode::OK => Some(Code::from_http(http)),
        Some(_) | None => None,
    }
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
