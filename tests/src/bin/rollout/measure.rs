//! What an event did to the requests that were due while it went on.

use std::ops::Range;

use serde::Serialize;
use tests::load::{Record, Tally};

use crate::plan::{Class, Event};

/// Calm seconds before an event that its latency is held against.
const CALM: usize = 30;

/// One event's figures: a line of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) event: String,
    #[serde(skip)]
    pub(crate) class: Option<Class>,
    pub(crate) at_s: usize,
    pub(crate) seconds: usize,
    /// Pods that left in order.
    pub(crate) departures: usize,
    /// Containers that were killed.
    pub(crate) kills: usize,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// In words; empty without any.
    pub(crate) failures: String,
    /// Attempts that channels made beyond the first of a call.
    pub(crate) retried: u64,
    /// How often callers asked again after their channel gave up.
    pub(crate) asked_again: u64,
    /// Keys with more than one order.
    pub(crate) duplicates: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p99_before_ms: f64,
    pub(crate) max_ms: f64,
    /// The most calls of one pod over the mean of all, once clients had time to spread: of
    /// order-service, whose clients come through the balancer.
    pub(crate) largest_share: Option<f64>,
    /// The same of account-service, whose clients find it by DNS.
    pub(crate) largest_share_in_cluster: Option<f64>,
}

/// An event that is over, as far as it was seen while it went on.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) event: Event,
    pub(crate) seconds: Range<usize>,
    pub(crate) departures: usize,
    pub(crate) kills: usize,
    pub(crate) retried: u64,
    pub(crate) shares: Option<Shares>,
}

/// How evenly calls were spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub(crate) outside: f64,
    pub(crate) in_cluster: f64,
}

/// The seconds of the last calm before `second`, at most [`CALM`] of them.
pub(crate) fn calm_before(second: usize, spans: &[Span]) -> Vec<usize> {
    let busy = |at: &usize| spans.iter().any(|span| span.seconds.contains(at));
    // The first seconds are warm-up.
    let calm = (WARM_UP..second).rev().filter(|at| !busy(at));
    calm.take(CALM).collect()
}

/// Seconds at the start that count for no comparison: caches are empty, connections new.
pub(crate) const WARM_UP: usize = 3;

/// The figures of every event. `duplicates` names the second in which the first request of each key
/// with several orders was due.
pub(crate) fn lines(record: &Record, spans: &[Span], duplicates: &[usize]) -> Vec<Line> {
    let line = |span: &Span| {
        let before = record.tally_of(calm_before(span.seconds.start, spans));
        let during = record.window(span.seconds.clone());
        let twice = duplicates.iter().filter(|second| span.seconds.contains(second)).count();
        Line {
            class: Some(span.event.class()),
            departures: span.departures,
            kills: span.kills,
            retried: span.retried,
            duplicates: u64::try_from(twice).expect("a count"),
            p99_before_ms: before.quantile_ms(0.99),
            largest_share: span.shares.map(|shares| shares.outside),
            largest_share_in_cluster: span.shares.map(|shares| shares.in_cluster),
            ..Line::of(span.event.name(), span.seconds.clone(), &during)
        }
    };
    spans.iter().map(line).collect()
}

/// The most that one pod may get, over the mean. With 1,000 connections on four pods the luck of
/// their draw is 1.05 of it, once in a few hundred 1.15.
const SHARE_MAX: f64 = 1.2;

impl Line {
    /// Whether the load was spread evenly, where that was looked at.
    pub(crate) fn is_spread(&self) -> bool {
        let shares = [self.largest_share, self.largest_share_in_cluster];
        shares.into_iter().flatten().all(|share| share <= SHARE_MAX)
    }

    /// What any window shows.
    pub(crate) fn of(event: String, seconds: Range<usize>, tally: &Tally) -> Self {
        Self {
            event,
            class: None,
            at_s: seconds.start,
            seconds: seconds.len(),
            departures: 0,
            kills: 0,
            requests: tally.requests(),
            failed: tally.failed(),
            failures: tally.failures_in_words(),
            retried: 0,
            asked_again: tally.retries,
            duplicates: 0,
            p50_ms: tally.quantile_ms(0.5),
            p99_ms: tally.quantile_ms(0.99),
            p99_before_ms: 0.0,
            max_ms: tally.max_ms(),
            largest_share: None,
            largest_share_in_cluster: None,
        }
    }
}

#[cfg(test)]
mod unit {
    use std::time::Duration;

    use tests::load::{Answer, Verdict};
    use tonic::Code;

    use super::*;

    fn span(event: Event, seconds: Range<usize>) -> Span {
        Span { event, seconds, departures: 2, kills: 0, retried: 5, shares: None }
    }

    #[test]
    fn calm_is_what_lies_between_events_the_latest_first() {
        let spans = [span(Event::Delete, 10..20), span(Event::Kill, 25..30)];
        assert_eq!(calm_before(10, &spans), [9, 8, 7, 6, 5, 4, 3]);
        assert_eq!(calm_before(25, &spans)[..6], [24, 23, 22, 21, 20, 9]);
        assert_eq!(calm_before(200, &spans).len(), CALM);
    }

    #[test]
    fn an_event_is_charged_with_the_requests_due_in_it_and_no_others() {
        let record = Record::default();
        let due = |second: u64| record.began() + Duration::from_secs(second);
        for second in 0..30 {
            record.note(due(second), Answer::at_once(Verdict::Done));
        }
        let failed = Verdict::Failed(Code::Unavailable);
        record.note(due(12), Answer { verdict: failed, retries: 3 });
        record.note(due(22), Answer::at_once(failed));
        let spans = [span(Event::Delete, 10..20), span(Event::Kill, 20..25)];
        let lines = lines(&record, &spans, &[12, 27]);
        let counts = |line: &Line| (line.requests, line.failed, line.asked_again, line.duplicates);
        assert_eq!(counts(&lines[0]), (11, 1, 3, 1));
        assert_eq!(counts(&lines[1]), (6, 1, 0, 0));
        assert_eq!(lines[0].failures, "1 Unavailable");
    }
}
