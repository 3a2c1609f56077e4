//! Admission: at most so many calls in progress, and of one caller no more than its share; the rest refused while
//! refusing is cheap.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use tonic::metadata::MetadataValue;

use super::methods::Method;
use super::record::Activity;
use crate::ServeConfig;
use crate::caller::{Caller, CallerKey};
use crate::quota::{Full, Hold, Quota};
use crate::spread::Spread;

/// Health and reflection calls in progress on one connection. A channel watches each service that it calls once.
const WATCHES_PER_CONNECTION: usize = 16;

/// What a caller is told that holds its share.
const OWN: &str = "this caller has too many calls in progress";

/// Admits calls up to a bound. A refused caller is told when to come back; the told times are
/// spread over [pushback, 2·pushback), so that a refused crowd does not return as one.
#[derive(Debug)]
pub(crate) struct Admission {
    calls: Arc<Quota>,
    watches: Arc<Quota>,
    queued: Arc<Quota>,
    pushback: Duration,
    spread: Spread,
}

impl Admission {
    pub(crate) fn new(config: &ServeConfig) -> Self {
        let quota = |bound| Quota::new(bound, config.fairness.caller_share_percent);
        Self {
            calls: quota(config.max_in_flight),
            watches: quota(config.fairness.max_watches),
            queued: quota(config.fairness.max_queued),
            pushback: config.pushback,
            spread: Spread::default(),
        }
    }

    /// What to hold as long as the call lasts. Health and reflection have a bound of their own: a full server is not a
    /// dead one, and watchers cannot crowd out work.
    pub(super) fn admit(
        &self,
        method: &Method,
        caller: &CallerKey,
        connection: &Activity,
    ) -> Result<Hold, Status> {
        let (quota, bounds) = match method.is_infrastructure() {
            false => (&self.calls, ["calls", "caller_calls"]),
            true if connection.watches() > WATCHES_PER_CONNECTION => {
                return Err(self.refusal("connection_watches", OWN));
            }
            true => (&self.watches, ["watches", "caller_watches"]),
        };
        let [all, own] = bounds;
        quota.take(caller, 1).map_err(|full| match full {
            Full::Bound => self.refusal(all, "too many calls in progress"),
            Full::Share => self.refusal(own, OWN),
        })
    }

    /// What handlers count for this caller.
    pub(super) fn caller(&self, key: CallerKey) -> Caller {
        Caller::new(key, self.queued.clone())
    }

    fn refusal(&self, bound: &'static str, why: &'static str) -> Status {
        crate::metrics::refused(bound);
        let pushback = self.pushback.mul_f64(1.0 + self.spread.next());
        let pushback_ms = u64::try_from(pushback.as_millis()).unwrap_or(u64::MAX);
        let mut status = Status::resource_exhausted(why);
        status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(pushback_ms));
        status
    }
}
