//! One call, from the stub's request to the response: attempts until one is committed or none may
//! follow.
//!
//! Outer to inner: deadline → retry rule or hedging (throttle, replay, classifier, pushback) → pick,
//! away from the endpoint tried last → attempt. The deadline is outermost so that no wait below can
//! outlive it. A response whose headers came is committed: it is handed on and never replaced.

mod attempt;
mod classify;
mod hedge;
mod judge;
mod options;
mod pick;
mod plan;
mod pump;
mod record;
mod replay;
mod retry;
mod throttle;
mod timeout;
mod underway;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout_at};

pub(crate) use self::classify::{Cause, Class};
use self::judge::Failure;
pub use self::options::CallOptions;
use self::plan::Plan;
pub(crate) use self::pump::Pumping;
pub(crate) use self::record::Record;
pub(crate) use self::replay::Budget;
use self::replay::Source;
use self::retry::{Decision, Retry};
pub(crate) use self::throttle::Throttle;
pub(crate) use self::underway::Underway;
use crate::body::Body;
use crate::code::Code;
use crate::config::Recovery;
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
    let record = Arc::new(Record::begin(&shared, parts.uri.path()));
    let plan = Plan::new(&shared, parts);
    let source = Source::new(body, Arc::clone(&shared.replay), plan.config.request_bytes_max);
    let deadline = plan.deadline;
    let tried_last = AtomicU64::new(EndpointId::NONE);
    let call = Call { shared, plan, source, tried_last, record };
    let record = Arc::clone(&call.record);
    let result = match deadline {
        None => call.run().await,
        Some(deadline) => timeout_at(deadline, call.run()).await.unwrap_or_else(|_| {
            Err(Error::new(Code::DeadlineExceeded, "the deadline passed before an answer came"))
        }),
    };
    if let Err(error) = &result {
        record.call_ended(error.code());
    }
    result
}

struct Call<B> {
    shared: Arc<Shared>,
    plan: Plan,
    source: Source<B>,
    /// The endpoint of the latest attempt, for the next one to avoid.
    tried_last: AtomicU64,
    record: Arc<Record>,
}

impl<B: RequestBody> Call<B> {
    async fn run(self) -> Result<Response<Body>, Error> {
        let config = Arc::clone(&self.plan.config);
        match &config.recovery {
            Recovery::Hedge(policy) => self.run_hedged(policy).await,
            Recovery::Retry(_) | Recovery::None => self.run_retried(Retry::new(&config)).await,
        }
    }

    async fn run_retried(&self, mut retry: Retry<'_>) -> Result<Response<Body>, Error> {
        loop {
            let Failure { failed, outcome } = match self.attempt(retry.previous_attempts()).await {
                Ok(response) => return Ok(response),
                Err(failure) => *failure,
            };
            let replayable = self.source.replayable();
            let Shared { throttle, setup, .. } = &*self.shared;
            match retry.decide(failed, replayable, throttle, &setup.entropy) {
                Decision::Transparent => self.record.transparent_retry(),
                Decision::Retry(wait) if !self.is_over_after(wait) => {
                    self.record.retry(wait);
                    drop(outcome);
                    sleep(wait).await;
                }
                Decision::Retry(_) | Decision::Stop => return self.give_up(outcome),
            }
        }
    }

    fn is_over_after(&self, wait: Duration) -> bool {
        self.plan.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline)
    }

    /// The last attempt's outcome becomes the call's.
    fn give_up(&self, outcome: judge::Outcome) -> Result<Response<Body>, Error> {
        let (response, code) = outcome?;
        self.record.call_ended(code);
        Ok(response)
    }

    fn avoid(&self) -> Option<EndpointId> {
        EndpointId::from_raw(self.tried_last.load(Ordering::Relaxed))
    }
}
