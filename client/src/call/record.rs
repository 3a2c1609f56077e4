//! One call's entry in the counters and meters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::classify::Class;
use crate::code::Code;
use crate::meters::{AttemptEnd, Extra, MethodMeters};
use crate::shared::Shared;

pub(crate) struct Record {
    shared: Arc<Shared>,
    meters: Arc<MethodMeters>,
    began: Instant,
    ended: AtomicBool,
    retries: AtomicU32,
    transparent_retries: AtomicU32,
    hedges: AtomicU32,
    delay_us: AtomicU64,
}

impl Record {
    pub(super) fn begin(shared: &Arc<Shared>, path: &str) -> Self {
        shared.telemetry.counters.calls.add_one();
        Self {
            shared: Arc::clone(shared),
            meters: Arc::clone(shared.telemetry.meters.method(path)),
            began: Instant::now(),
            ended: AtomicBool::new(false),
            retries: AtomicU32::new(0),
            transparent_retries: AtomicU32::new(0),
            hedges: AtomicU32::new(0),
            delay_us: AtomicU64::new(0),
        }
    }

    pub(super) fn attempt_started(&self) {
        self.shared.telemetry.counters.attempts.add_one();
        self.meters.attempt_started();
    }

    pub(super) fn attempt_broke(&self, class: Class, end: AttemptEnd) {
        let counters = &self.shared.telemetry.counters;
        match class {
            Class::Unsent => counters.unsent.add_one(),
            Class::Unprocessed => counters.unprocessed.add_one(),
            Class::Ambiguous => counters.ambiguous.add_one(),
            Class::Final => {}
        }
        self.shared.telemetry.meters.attempt_failed(class);
        self.meters.attempt_ended(end);
    }

    /// The server gave this status, at once or at the end of its answer.
    pub(crate) fn attempt_ended(&self, end: AttemptEnd) {
        if end.code != Code::Ok {
            self.shared.telemetry.meters.status_failed();
        }
        self.meters.attempt_ended(end);
    }

    /// Nobody waits for its outcome any more.
    pub(super) fn attempt_cut_short(&self, end: AttemptEnd) {
        self.meters.attempt_ended(end);
    }

    pub(super) fn retry(&self, wait: Duration) {
        self.shared.telemetry.counters.retries.add_one();
        self.retries.fetch_add(1, Ordering::Relaxed);
        let wait_us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.fetch_add(wait_us, Ordering::Relaxed);
    }

    pub(super) fn transparent_retry(&self) {
        self.shared.telemetry.counters.transparent_retries.add_one();
        self.transparent_retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn hedge(&self) {
        self.shared.telemetry.counters.hedges.add_one();
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// The call is over. Counts once; a caller that leaves early is recorded as CANCELLED.
    pub(crate) fn call_ended(&self, code: Code) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        if code == Code::Ok {
            self.shared.telemetry.counters.succeeded.add_one();
            self.shared.throttle.succeeded();
        }
        self.meters.call_ended(code, self.began.elapsed());
        self.meters.extra(Extra {
            retries: self.retries.load(Ordering::Relaxed),
            transparent_retries: self.transparent_retries.load(Ordering::Relaxed),
            hedges: self.hedges.load(Ordering::Relaxed),
            delay: Duration::from_micros(self.delay_us.load(Ordering::Relaxed)),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.call_ended(Code::Cancelled);
    }
}
