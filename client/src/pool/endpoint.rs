//! An endpoint as its connections and calls know it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::failures::Failures;
use crate::code::{Code, CodeSet};
use crate::config::OutlierDetection;
use crate::resolve::Address;
use crate::stats::Count;

/// Names an endpoint within its channel; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointId(u64);

impl EndpointId {
    /// The raw form of no endpoint.
    pub(crate) const NONE: u64 = 0;

    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw != Self::NONE).then_some(Self(raw))
    }

    pub(crate) fn raw(self) -> u64 {
        self.0
    }
}

/// What others tell the pool of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// It failed too often in a row.
    Suspect(EndpointId),
    /// Its health changed.
    Health(EndpointId),
}

/// Notices under way; more are dropped, for the next one says the same.
pub(super) const NOTICES_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) id: EndpointId,
    pub(crate) address: Address,
    pub(crate) attempts: Count,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failed_in_a_row: AtomicU32,
    /// Failures in a row that make it suspect. Zero: none do.
    suspect_after: u32,
    /// Statuses that speak against it beside those that always do.
    blaming: CodeSet,
    failures: Failures,
    notices: mpsc::Sender<Notice>,
}

impl EndpointShared {
    pub(super) fn new(
        id: EndpointId,
        address: Address,
        outlier: Option<&OutlierDetection>,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        let suspect_after = outlier.and_then(|config| config.consecutive_failures);
        Self {
            id,
            address,
            attempts: Count::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failed_in_a_row: AtomicU32::new(0),
            suspect_after: suspect_after.unwrap_or(0),
            blaming: outlier.map(|config| config.blaming).unwrap_or_default(),
            failures: Failures::none(),
            notices,
        }
    }

    /// An attempt ended with this status.
    pub(crate) fn answered(&self, code: Code) {
        self.failures.note(code == Code::Ok);
        self.report(!code.blames_server() && !self.blaming.contains(code));
    }

    /// An attempt was refused unread, which is no fault, but no reason either to send more.
    pub(crate) fn refused(&self) {
        self.failures.note(false);
    }

    /// An attempt broke, or its deadline passed.
    pub(crate) fn broke(&self) {
        self.failures.note(false);
        self.report(false);
    }

    /// The share of its recent attempts that failed, from 0 to 1.
    pub(crate) fn failure_share(&self) -> f32 {
        self.failures.share()
    }

    /// For outlier detection: an attempt ended well, or failed in a way that speaks against the endpoint.
    fn report(&self, well: bool) {
        if well {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
            if self.failed_in_a_row.load(Ordering::Relaxed) > 0 {
                self.failed_in_a_row.store(0, Ordering::Relaxed);
            }
            return;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        let in_a_row = self.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row == self.suspect_after {
            // A full queue holds enough notices already.
            let _ = self.notices.try_send(Notice::Suspect(self.id));
        }
    }

    /// Its health changed; the pool has to look again.
    pub(crate) async fn health_changed(&self) {
        // Nobody to tell: the pool is gone, and this endpoint with it.
        let _ = self.notices.send(Notice::Health(self.id)).await;
    }

    /// Successes and failures since the last time this was asked.
    pub(super) fn take_tally(&self) -> (u64, u64) {
        (self.succeeded.swap(0, Ordering::Relaxed), self.failed.swap(0, Ordering::Relaxed))
    }

    pub(super) fn forgive(&self) {
        self.failed_in_a_row.store(0, Ordering::Relaxed);
    }
}
