//! The record of a call: measured from its first byte to its last, whatever its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use metrics::Gauge;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::Span;

use super::methods::Method;
use super::now;
use crate::auth::Principal;
use crate::metrics::CALLS_IN_FLIGHT;
use crate::quota::Hold;
use crate::trail::Pending;

/// Counts over all connections of a server.
#[derive(Debug)]
pub(crate) struct Totals {
    answered: AtomicU64,
    in_flight: Gauge,
}

impl Totals {
    pub(crate) fn new() -> Arc<Self> {
        let in_flight = metrics::gauge!(CALLS_IN_FLIGHT);
        Arc::new(Self { answered: AtomicU64::new(0), in_flight })
    }

    /// Calls that got their answer, health and reflection left out.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn begin(
        self: &Arc<Self>,
        method: Arc<Method>,
        activity: Arc<Activity>,
        span: Span,
    ) -> Record {
        method.count_start();
        let is_call = !method.is_infrastructure();
        if is_call {
            self.in_flight.increment(1.0);
        }
        let stream = Some(activity.begin(is_call));
        let totals = self.clone();
        Record { method, totals, stream, span, began: now(), hold: None, audit: None }
    }
}

/// What one connection is doing.
#[derive(Debug)]
pub(crate) struct Activity {
    born: Instant,
    /// Open streams, and those of them that are calls rather than health or reflection.
    open: AtomicUsize,
    calls: AtomicUsize,
    /// Milliseconds from `born` to the end of the last stream.
    last_end_ms: AtomicU64,
    quiet: Notify,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: now(),
            open: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            last_end_ms: AtomicU64::new(0),
            quiet: Notify::new(),
        })
    }

    pub(crate) fn begin(self: Arc<Self>, is_call: bool) -> OpenStream {
        self.open.fetch_add(1, Ordering::AcqRel);
        if is_call {
            self.calls.fetch_add(1, Ordering::AcqRel);
        }
        OpenStream { activity: self, is_call }
    }

    /// Health and reflection calls in progress.
    pub(super) fn watches(&self) -> usize {
        self.open.load(Ordering::Acquire).saturating_sub(self.calls())
    }

    /// Calls in progress.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// Resolves once no call is in progress. One task a connection waits for this or for
    /// [`wait_quiet`](Self::wait_quiet) at a time.
    pub(crate) async fn wait_no_calls(&self) {
        while self.calls() > 0 {
            self.quiet.notified().await;
        }
    }

    /// Whether no stream is open.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Resolves once no stream is open.
    pub(crate) async fn wait_quiet(&self) {
        while !self.is_quiet() {
            self.quiet.notified().await;
        }
    }

    /// Resolves once no stream has been open for this long. Costs the calls nothing: it sleeps
    /// until the earliest moment at which that can be, and looks again.
    pub(crate) async fn wait_idle(&self, idle: Duration) {
        loop {
            let last_end = Duration::from_millis(self.last_end_ms.load(Ordering::Relaxed));
            let due = self.born + last_end + idle;
            match self.is_quiet() {
                false => tokio::time::sleep(idle).await,
                true if now() >= due => return,
                true => tokio::time::sleep_until(due).await,
            }
        }
    }

    fn end(&self, is_call: bool) {
        let since_born_ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_end_ms.store(since_born_ms, Ordering::Relaxed);
        let no_calls = is_call && self.calls.fetch_sub(1, Ordering::AcqRel) == 1;
        let no_streams = self.open.fetch_sub(1, Ordering::AcqRel) == 1;
        if no_calls || no_streams {
            self.quiet.notify_one();
        }
    }
}

/// A stream of a connection, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    activity: Arc<Activity>,
    is_call: bool,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.activity.end(self.is_call);
    }
}

/// One call. Dropped without an end, the caller or the connection went away: CANCELLED.
#[derive(Debug)]
pub(crate) struct Record {
    method: Arc<Method>,
    totals: Arc<Totals>,
    span: Span,
    began: Instant,
    hold: Option<Hold>,
    /// Its line in the audit trail, if it has one.
    audit: Option<Box<Pending>>,
    /// `None` once the call has ended.
    stream: Option<OpenStream>,
}

impl Record {
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Keeps what the call was admitted with until it ends.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// Gives it a line in the audit trail, which is written when it ends.
    pub(super) fn audit(&mut self, pending: Pending) {
        self.audit = Some(Box::new(pending));
    }

    /// Tells the audit trail who calls.
    pub(super) fn called_by(&mut self, principal: &Principal) {
        if let Some(pending) = &mut self.audit {
            pending.called_by(principal);
        }
    }

    /// Tells the audit trail why it is refused.
    pub(super) fn refused(&mut self, status: &Status) {
        if let Some(pending) = &mut self.audit {
            pending.refused(status);
        }
    }

    /// As [`refused`](Self::refused), for an answer that a service wrote.
    pub(super) fn refused_in(&mut self, headers: &HeaderMap) {
        if let Some(pending) = &mut self.audit {
            pending.refused_in(headers);
        }
    }

    /// The answer is complete. Only the first end counts.
    pub(super) fn end(&mut self, code: Code) {
        if self.stream.is_none() {
            return;
        }
        if !self.method.is_infrastructure() {
            self.totals.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.close(code);
    }

    fn close(&mut self, code: Code) {
        self.hold = None;
        self.stream = None;
        if !self.method.is_infrastructure() {
            self.totals.in_flight.decrement(1.0);
        }
        let took = self.began.elapsed();
        self.method.observe(code, took);
        if let Some(pending) = self.audit.take() {
            pending.write(self.method.name(), code);
        }
        tracing::debug!(
            parent: &self.span, code = code_name(code), took_us = took.as_micros(), "call ended"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.close(Code::Cancelled);
        }
    }
}

/// The code as gRPC writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_is_counted_from_the_end_of_the_last_stream() {
        let activity = Activity::new();
        let call = activity.clone().begin(true);
        let began = now();
        let idle = tokio::spawn({
            let activity = activity.clone();
            async move { activity.wait_idle(Duration::from_secs(10)).await }
        });
        tokio::time::sleep(Duration::from_secs(25)).await;
        drop(call);
        idle.await.unwrap();
        let waited = began.elapsed();
        let expected = Duration::from_secs(35)..Duration::from_millis(35_100);
        assert!(expected.contains(&waited), "{waited:?}");
    }

    #[tokio::test]
    async fn quiet_is_when_the_last_stream_ends() {
        let activity = Activity::new();
        let (watch, call) = (activity.clone().begin(false), activity.clone().begin(true));
        let quiet = tokio::spawn({
            let activity = activity.clone();
            async move { activity.wait_quiet().await }
        });
        drop(call);
        tokio::task::yield_now().await;
        assert!(!quiet.is_finished());
        drop(watch);
        quiet.await.unwrap();
    }
}
