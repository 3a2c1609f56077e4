//! Metrics through the `metrics` facade, named as gRFC A66 and A96 name them.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `grpc.client.attempt.started` | counter | method, target |
//! | `grpc.client.attempt.duration` | histogram, seconds | method, target, status |
//! | `grpc.client.attempt.sent_total_compressed_message_size`, `.rcvd_total_compressed_message_size` | histogram, bytes of an attempt's messages without their prefixes | method, target, status |
//! | `grpc.client.call.duration` | histogram, seconds | method, target, status |
//! | `grpc.client.call.retries`, `.transparent_retries`, `.hedges` | histogram, per call that had any | method, target |
//! | `grpc.client.call.retry_delay` | histogram, seconds per call that waited | method, target |
//! | `grpc.client.attempt.failures` (ours) | counter | class: unsent, unprocessed, ambiguous, status |
//! | `grpc.client.connections` (ours) | counter | event: connected, failed, drained, lost, ejected |
//!
//! Labels are bounded as A66 asks: a method has its name if the service config names it and is `other`
//! if not; there are seventeen statuses and one target. Handles are made when the channel is built or
//! first needs them, so the recorder has to be installed before.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use crate::call::Class;
use crate::code::Code;

/// The methods' meters of one channel.
pub(crate) struct Meters {
    by_path: HashMap<String, Arc<MethodMeters>>,
    other: Arc<MethodMeters>,
    failures: [Counter; 4],
    connections: [Counter; 5],
}

/// What befell a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionEvent {
    Connected,
    Failed,
    Drained,
    Lost,
    Ejected,
}

impl Meters {
    /// Meters for these methods (`service/method`) and for all others together.
    pub(crate) fn new<'a>(target: &str, methods: impl Iterator<Item = &'a str>) -> Self {
        let meters = |method: &str| Arc::new(MethodMeters::new(method, target));
        let class = |name: &'static str| counter!("grpc.client.attempt.failures", "grpc.target" => target.to_owned(), "class" => name);
        let event = |name: &'static str| counter!("grpc.client.connections", "grpc.target" => target.to_owned(), "event" => name);
        Self {
            by_path: methods.map(|path| (format!("/{path}"), meters(path))).collect(),
            other: meters("other"),
            failures: ["unsent", "unprocessed", "ambiguous", "status"].map(class),
            connections: ["connected", "failed", "drained", "lost", "ejected"].map(event),
        }
    }

    pub(crate) fn method(&self, path: &str) -> &Arc<MethodMeters> {
        self.by_path.get(path).unwrap_or(&self.other)
    }

    pub(crate) fn attempt_failed(&self, class: Class) {
        let index = match class {
            Class::Unsent => 0,
            Class::Unprocessed => 1,
            Class::Ambiguous => 2,
            Class::Final => return,
        };
        self.failures[index].increment(1);
    }

    pub(crate) fn status_failed(&self) {
        self.failures[3].increment(1);
    }

    pub(crate) fn connection(&self, event: ConnectionEvent) {
        self.connections[event as usize].increment(1);
    }
}

/// The meters of one method.
pub(crate) struct MethodMeters {
    method: String,
    target: String,
    attempts_started: Counter,
    attempt_duration: ByStatus,
    attempt_sent: ByStatus,
    attempt_received: ByStatus,
    call_duration: ByStatus,
    retries: Histogram,
    transparent_retries: Histogram,
    hedges: Histogram,
    retry_delay: Histogram,
}

/// One attempt, as it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptEnd {
    pub(crate) code: Code,
    pub(crate) took: Duration,
    /// Bytes of messages as they travel, compressed or not; prefixes and headers not among them.
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// What one call took besides its first attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) retries: u32,
    pub(crate) transparent_retries: u32,
    pub(crate) hedges: u32,
    pub(crate) delay: Duration,
}

impl MethodMeters {
    fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        let plain = |name: &'static str| histogram!(name, "grpc.method" => method.clone(), "grpc.target" => target.clone());
        Self {
            attempts_started: counter!(
                "grpc.client.attempt.started",
                "grpc.method" => method.clone(), "grpc.target" => target.clone()
            ),
            attempt_duration: ByStatus::new("grpc.client.attempt.duration"),
            attempt_sent: ByStatus::new("grpc.client.attempt.sent_total_compressed_message_size"),
            attempt_received: ByStatus::new(
                "grpc.client.attempt.rcvd_total_compressed_message_size",
            ),
            call_duration: ByStatus::new("grpc.client.call.duration"),
            retries: plain("grpc.client.call.retries"),
            transparent_retries: plain("grpc.client.call.transparent_retries"),
            hedges: plain("grpc.client.call.hedges"),
            retry_delay: plain("grpc.client.call.retry_delay"),
            method,
            target,
        }
    }

    pub(crate) fn attempt_started(&self) {
        self.attempts_started.increment(1);
    }

    pub(crate) fn attempt_ended(&self, end: AttemptEnd) {
        let AttemptEnd { code, took, sent_bytes, received_bytes } = end;
        self.attempt_duration.of(code, self).record(took);
        self.attempt_sent.of(code, self).record(bytes(sent_bytes));
        self.attempt_received.of(code, self).record(bytes(received_bytes));
    }

    pub(crate) fn call_ended(&self, code: Code, took: Duration) {
        self.call_duration.of(code, self).record(took);
    }

    /// Counts what a call took beyond one attempt; calls that took nothing are not recorded (A96).
    pub(crate) fn extra(&self, extra: Extra) {
        let counts = [
            (&self.retries, extra.retries),
            (&self.transparent_retries, extra.transparent_retries),
            (&self.hedges, extra.hedges),
        ];
        for (meter, count) in counts {
            if count > 0 {
                meter.record(f64::from(count));
            }
        }
        if !extra.delay.is_zero() {
            self.retry_delay.record(extra.delay);
        }
    }
}

/// One histogram with a status label, made of as many as there were statuses so far.
struct ByStatus {
    name: &'static str,
    made: [OnceLock<Histogram>; 17],
}

impl ByStatus {
    fn new(name: &'static str) -> Self {
        Self { name, made: Default::default() }
    }

    fn of(&self, code: Code, of: &MethodMeters) -> &Histogram {
        let make = || {
            histogram!(
                self.name,
                "grpc.method" => of.method.clone(),
                "grpc.target" => of.target.clone(),
                "grpc.status" => code.name()
            )
        };
        self.made[code as usize].get_or_init(make)
    }
}

#[expect(clippy::cast_precision_loss, reason = "histograms hold doubles")]
fn bytes(count: u64) -> f64 {
    count as f64
}
