//! One call, from the stub's request to the response: attempts until one is committed or none may
//! follow.
//!
//! Outer to inner: deadline → retry rule (throttle, replay, classifier, pushback) → pick, away from the
//! endpoint that just failed → attempt. The deadline is outermost so that no wait below can outlive
//! it. A response whose headers came is committed: it is handed on and never replaced.

mod attempt;
mod classify;
mod options;
mod pick;
mod plan;
mod pump;
mod replay;
mod retry;
mod throttle;
mod timeout;

use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout_at};

use self::attempt::{Answered, Broken};
pub(crate) use self::classify::Cause;
pub use self::options::CallOptions;
use self::pick::NoPlace;
use self::plan::Plan;
pub(crate) use self::replay::Budget;
use self::replay::Source;
use self::retry::{Decision, Failed, Pushback, Retry};
pub(crate) use self::throttle::Throttle;
use crate::body::{Body, Finish};
use crate::code::Code;
use crate::config::{Recovery, RetryPolicy};
use crate::connection::Slot;
use crate::error::{BoxError, Error};
use crate::pool::EndpointId;
use crate::shared::Shared;

/// A request body that the channel can send.
pub trait RequestBody:
    http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

impl<B> RequestBody for B where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

pub(crate) async fn run<B: RequestBody>(
    shared: Arc<Shared>,
    request: Request<B>,
) -> Result<Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let plan = Plan::new(&shared, parts);
    let source = Source::new(body, Arc::clone(&shared.replay));
    let deadline = plan.deadline;
    let call = Call { shared, plan, source, avoid: None };
    match deadline {
        None => call.run().await,
        Some(deadline) => timeout_at(deadline, call.run()).await.unwrap_or_else(|_| {
            Err(Error::new(Code::DeadlineExceeded, "the deadline passed before an answer came"))
        }),
    }
}

struct Call<B> {
    shared: Arc<Shared>,
    plan: Plan,
    source: Source<B>,
    /// The endpoint that failed last.
    avoid: Option<EndpointId>,
}

/// An attempt that failed, and what the caller gets if none follows.
struct Failure {
    failed: Failed,
    outcome: Result<Response<Body>, Error>,
}

impl<B: RequestBody> Call<B> {
    async fn run(mut self) -> Result<Response<Body>, Error> {
        let config = Arc::clone(&self.plan.config);
        let mut retry = Retry::new(&config);
        loop {
            let Failure { failed, outcome } = match self.attempt(retry.previous_attempts()).await {
                Ok(response) => return Ok(response),
                Err(failure) => *failure,
            };
            let replayable = self.source.replayable();
            let Shared { throttle, entropy, .. } = &*self.shared;
            match retry.decide(failed, replayable, throttle, entropy) {
                Decision::Transparent => {}
                Decision::Retry(wait) if self.is_over_after(wait) => return outcome,
                Decision::Retry(wait) => {
                    drop(outcome);
                    sleep(wait).await;
                }
                Decision::Stop => return outcome,
            }
        }
    }

    fn is_over_after(&self, wait: std::time::Duration) -> bool {
        self.plan.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline)
    }

    /// Picks, sends, and waits for the response's headers.
    async fn attempt(&mut self, previous: u32) -> Result<Response<Body>, Box<Failure>> {
        let slot = pick::acquire(&self.shared, self.avoid, self.plan.wait_for_ready)
            .await
            .map_err(no_place)?;
        let endpoint = slot.connection().endpoint.id;
        let limit = match &self.plan.config.recovery {
            Recovery::Retry(RetryPolicy { attempt_timeout, .. }) => *attempt_timeout,
            Recovery::None | Recovery::Hedge(_) => None,
        };
        let request = self.plan.request(previous);
        let result = match attempt::send(slot, request, &self.source, limit).await {
            Ok(answered) => self.judge(answered),
            Err(Broken::Body(error)) => Err(Box::new(Failure {
                failed: Failed::Transport(Cause::RequestInvalid.class()),
                outcome: Err(Error::request_body(error)),
            })),
            Err(Broken::Transport { cause, message }) => Err(Box::new(Failure {
                failed: Failed::Transport(cause.class()),
                outcome: Err(Error::new(cause.code(), message)),
            })),
        };
        self.avoid = result.is_err().then_some(endpoint);
        result
    }

    /// A response without a message that names a failure may be tried again; any other is committed.
    fn judge(&self, answered: Answered<B>) -> Result<Response<Body>, Box<Failure>> {
        let Answered { response, pump, slot } = answered;
        let (parts, stream) = response.into_parts();
        match status_without_message(parts.status, &parts.headers, &stream) {
            None => {
                self.source.commit();
                let pump = pump.map(|mut pump| {
                    tokio::spawn(async move {
                        // What stopped it shows in the response.
                        let _ = std::future::poll_fn(|cx| pump.poll(cx)).await;
                    })
                });
                let finish = self.finish(slot);
                let body = Body::streaming(stream, finish, self.plan.deadline, pump);
                Ok(Response::from_parts(parts, body))
            }
            Some(code) => {
                let failed = Failed::Status(code, Pushback::read(&parts.headers));
                let response = Response::from_parts(parts, Body::empty());
                self.finish(slot).with(code);
                if code == Code::Ok {
                    return Ok(response);
                }
                Err(Box::new(Failure { failed, outcome: Ok(response) }))
            }
        }
    }

    fn finish(&self, slot: Slot) -> Finish {
        Finish::new(Arc::clone(&self.shared), slot)
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
            Failed::Transport(Cause::RequestInvalid.class()),
            Code::ResourceExhausted,
            "too many calls wait for an endpoint".to_owned(),
        ),
        NoPlace::Closed => (
            Failed::Transport(Cause::RequestInvalid.class()),
            Code::Unavailable,
            "the channel is closed".to_owned(),
        ),
    };
    Box::new(Failure { failed, outcome: Err(Error::new(code, message)) })
}
