//! What became of requests: a histogram and counts for each second, and marks where something happened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tonic::Code;

/// Longest latency told apart; what takes longer counts as this long.
const LATENCY_MAX_US: u64 = 600_000_000;
/// A run is at most this long; later answers count in its last second.
const SECONDS_MAX: usize = 24 * 60 * 60;

/// The last word on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it was.
    pub verdict: Verdict,
    /// How often the caller had to ask again.
    pub retries: u32,
}

impl Answer {
    /// An answer to the first try.
    #[must_use]
    pub fn at_once(verdict: Verdict) -> Self {
        Self { verdict, retries: 0 }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it asked for.
    Done,
    /// An earlier request had done it, and its answer came again.
    Replayed,
    /// Refused for a reason of the business: a duplicate, no stock, no money.
    Refused,
    /// Anything else.
    Failed(Code),
}

/// Counts and latencies of some requests.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that did what they asked for.
    pub done: u64,
    /// Requests that were answered with an earlier request's answer.
    pub replayed: u64,
    /// Requests refused for a reason of the business.
    pub refused: u64,
    /// Failures by code.
    pub failures: BTreeMap<i32, u64>,
    /// How often callers asked again.
    pub retries: u64,
    /// Microseconds from when a request was due to its last answer.
    pub latency_us: Histogram<u32>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_MAX_US, 2);
        Self {
            done: 0,
            replayed: 0,
            refused: 0,
            failures: BTreeMap::new(),
            retries: 0,
            latency_us: latency_us.expect("constant bounds are valid"),
        }
    }
}

impl Tally {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.done + self.replayed + self.refused + self.failed()
    }

    /// All failures.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Failures in words: `3 Unavailable, 1 Internal`; empty without any.
    #[must_use]
    pub fn failures_in_words(&self) -> String {
        let words: Vec<_> = self
            .failures
            .iter()
            .map(|(code, count)| format!("{count} {:?}", Code::from_i32(*code)))
            .collect();
        words.join(", ")
    }

    /// Milliseconds that this share of the requests stayed within: `quantile(0.99)` is p99.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of at most ten minutes")]
        let us = self.latency_us.value_at_quantile(quantile) as f64;
        us / 1000.0
    }

    /// The slowest request, in milliseconds.
    #[must_use]
    pub fn max_ms(&self) -> f64 {
        self.quantile_ms(1.0)
    }

    fn add(&mut self, answer: Answer, latency: Duration) {
        match answer.verdict {
            Verdict::Done => self.done += 1,
            Verdict::Replayed => self.replayed += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Failed(code) => *self.failures.entry(code as i32).or_default() += 1,
        }
        self.retries += u64::from(answer.retries);
        let us = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US);
        self.latency_us.saturating_record(us);
    }

    fn merge(&mut self, other: &Self) {
        self.done += other.done;
        self.replayed += other.replayed;
        self.refused += other.refused;
        for (code, count) in &other.failures {
            *self.failures.entry(*code).or_default() += count;
        }
        self.retries += other.retries;
        self.latency_us.add(&other.latency_us).expect("histograms of one shape");
    }
}

/// The requests that were due in one second of a run.
pub type Second = Tally;

/// Something that happened during a run.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Since the record began.
    pub at: Duration,
    /// What.
    pub label: String,
}

/// Everything about a run, to be read while it goes on. A request belongs to the second it was due in.
#[derive(Debug)]
pub struct Record {
    began: Instant,
    sent: AtomicU64,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    seconds: Vec<Second>,
    marks: Vec<Mark>,
}

impl Default for Record {
    fn default() -> Self {
        Self { began: Instant::now(), sent: AtomicU64::new(0), pages: Mutex::default() }
    }
}

impl Record {
    #[cfg(test)]
    pub(super) fn began_at(began: Instant) -> Self {
        Self { began, ..Self::default() }
    }

    /// When the record began.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Notes that a request is sent.
    pub fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were sent so far, answered or not.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Notes a request that was due at `due` and is answered now.
    pub fn note(&self, due: Instant, answer: Answer) {
        let latency = due.elapsed();
        let second = usize::try_from(due.saturating_duration_since(self.began).as_secs());
        let second = second.unwrap_or(SECONDS_MAX).min(SECONDS_MAX);
        let seconds = &mut self.pages().seconds;
        if seconds.len() <= second {
            seconds.resize_with(second + 1, Second::default);
        }
        seconds[second].add(answer, latency);
    }

    /// Notes that something happened now.
    pub fn mark(&self, label: impl Into<String>) {
        let mark = Mark { at: self.began.elapsed(), label: label.into() };
        self.pages().marks.push(mark);
    }

    /// The requests due in these seconds, as far as they are answered.
    #[must_use]
    pub fn window(&self, seconds: Range<usize>) -> Tally {
        let pages = self.pages();
        let end = seconds.end.min(pages.seconds.len());
        let mut all = Tally::default();
        for second in pages.seconds.get(seconds.start..end).unwrap_or_default() {
            all.merge(second);
        }
        all
    }

    /// As [`Record::window`], of seconds that need not follow each other.
    #[must_use]
    pub fn tally_of(&self, seconds: impl IntoIterator<Item = usize>) -> Tally {
        let pages = self.pages();
        let mut all = Tally::default();
        for second in seconds.into_iter().filter_map(|second| pages.seconds.get(second)) {
            all.merge(second);
        }
        all
    }

    /// How many requests have failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.pages().seconds.iter().map(Tally::failed).sum()
    }

    /// How often callers have asked again so far.
    #[must_use]
    pub fn asked_again(&self) -> u64 {
        self.pages().seconds.iter().map(|second| second.retries).sum()
    }

    /// All requests so far.
    #[must_use]
    pub fn total(&self) -> Tally {
        self.window(0..usize::MAX)
    }

    /// Every second, and every mark, in order.
    #[must_use]
    pub fn timeline(&self) -> (Vec<Second>, Vec<Mark>) {
        let pages = self.pages();
        (pages.seconds.clone(), pages.marks.clone())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_the_second_it_was_due_in() {
        let record = Record::default();
        let due = record.began() + Duration::from_millis(2_500);
        record.note(record.began(), Answer::at_once(Verdict::Done));
        record.note(due, Answer { verdict: Verdict::Failed(Code::Unavailable), retries: 2 });
        let third = record.window(2..3);
        assert_eq!((third.requests(), third.failed(), third.retries), (1, 1, 2));
        assert_eq!(third.failures_in_words(), "1 Unavailable");
        assert_eq!(record.window(0..2).done, 1);
        assert_eq!(record.total().requests(), 2);
        assert_eq!(record.window(7..9).requests(), 0);
    }

    #[test]
    fn latency_is_counted_from_when_a_request_was_due() {
        let record = Record::default();
        let due = Instant::now() - Duration::from_secs(2);
        record.note(due, Answer::at_once(Verdict::Done));
        assert!(record.total().max_ms() >= 1_980.0, "{}", record.total().max_ms());
    }
}
