//! What must have happened at least once: a run that never came to the hard places proves nothing about them.

use std::collections::BTreeMap;

use super::history::{Answer, Call, Operation};
use crate::cluster::Pod;
use crate::cluster::metrics::sum;

type Labels = &'static [(&'static str, &'static str)];

/// Something that a full run has seen, and the series that count it.
const COUNTED: [(&str, &str, Labels); 8] = [
    ("takeover", "order_takeovers_total", &[]),
    ("zombie_fenced", "order_fenced_total", &[]),
    ("reserve_unknown", "order_reserve_unknown_total", &[]),
    ("commit_unknown", "order_commit_unknown_total", &[]),
    ("settlement_unknown", "order_settlements_unknown_total", &[]),
    ("redis_late_or_away", "order_guard_looks_total", &[("outcome", "late")]),
    ("redis_skipped", "order_guard_looks_total", &[("outcome", "skipped")]),
    ("redis_hit", "order_guard_looks_total", &[("outcome", "taken")]),
];

/// Counters of processes that may end at any time: read often, summed over their lives.
#[derive(Debug, Default)]
pub(super) struct Sometimes {
    sums: BTreeMap<&'static str, f64>,
    last: BTreeMap<(String, &'static str), f64>,
}

impl Sometimes {
    /// Reads a pod. A counter that is less than before belongs to a new process.
    pub(super) async fn read(&mut self, pod: &Pod) {
        let Some((200, page)) = pod.get("/q/metrics").await else { return };
        for (name, series, labels) in COUNTED {
            let now = sum(&page, series, labels);
            let last = self.last.entry((pod.name().to_owned(), name)).or_default();
            let more = if now < *last { now } else { now - *last };
            *last = now;
            *self.sums.entry(name).or_default() += more;
        }
    }

    /// All counts: those of the pods, and those that the history shows.
    #[must_use]
    pub(super) fn counts(&self, history: &[Operation]) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<_, _> = COUNTED.map(|(name, ..)| (name, 0)).into();
        // Counters are whole numbers, far below where f64 has gaps.
        counts.extend(self.sums.iter().map(|(name, sum)| (*name, sum.round() as u64)));
        for (name, _) in SHOWN {
            counts.insert(name, 0);
        }
        for operation in history {
            for (name, shows) in SHOWN {
                *counts.entry(name).or_default() += u64::from(shows(operation));
            }
        }
        counts
    }
}

type Shows = fn(&Operation) -> bool;

/// What answers show.
const SHOWN: [(&str, Shows); 12] = [
    ("placed", |o| matches!(o.answer, Answer::Placed { replayed: false, .. })),
    ("replayed", |o| matches!(o.answer, Answer::Placed { replayed: true, .. })),
    ("e301", |o| o.answer.reason() == Some("DUPLICATE_PAYMENT_REQUEST")),
    ("e302", |o| o.answer.reason() == Some("PAYMENT_ALREADY_PROCESSED")),
    ("e303", |o| o.answer.reason() == Some("PAYMENT_FAILED")),
    ("e305", |o| o.answer.reason() == Some("IDEMPOTENCY_KEY_REUSED")),
    ("e306", |o| o.answer.reason() == Some("OUT_OF_STOCK")),
    ("cancelled", |o| matches!((&o.call, &o.answer), (Call::Cancel { .. }, Answer::Done))),
    ("refunded", |o| matches!((&o.call, &o.answer), (Call::Refund { .. }, Answer::Done))),
    ("read_together", |o| matches!((&o.call, &o.answer), (Call::Read(_), Answer::Done))),
    ("declined", |o| o.answer.reason() == Some("INSUFFICIENT_FUNDS")),
    ("tombstone_refused_reserve", |o| {
        matches!(o.call, Call::Reserve { .. }) && o.answer.reason() == Some("RESERVATION_RELEASED")
    }),
];
