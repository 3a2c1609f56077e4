//! What callers do, and what became of their calls.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

/// What the callers do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) method: &'static str,
    pub(super) callers: usize,
    /// What each call takes at the server.
    pub(super) work_ms: u32,
    pub(super) timeout: Duration,
}

/// What one server answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Served {
    pub(super) calls: u64,
    /// All of them together, as their callers saw them.
    pub(super) took: Duration,
}

impl Served {
    pub(super) fn mean_ms(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
        let calls = self.calls as f64;
        self.took.as_secs_f64() * 1e3 / calls
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.took += other.took;
    }
}

/// A run of calls, counted.
pub(super) struct Outcome {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) codes: BTreeMap<i32, u64>,
    pub(super) by_server: BTreeMap<u32, Served>,
    pub(super) latency_us: Histogram<u64>,
    pub(super) retries: Option<u64>,
    pub(super) duplicates: u64,
    pub(super) note: String,
    pub(super) kept: bool,
}

impl Outcome {
    pub(super) fn new() -> Self {
        Self {
            calls: 0,
            failed: 0,
            codes: BTreeMap::new(),
            by_server: BTreeMap::new(),
            latency_us: Histogram::new_with_max(600_000_000, 3).expect("constant bounds"),
            retries: None,
            duplicates: 0,
            note: String::new(),
            kept: true,
        }
    }

    pub(super) fn record(&mut self, result: Result<u32, Code>, took: Duration) {
        self.calls += 1;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.saturating_record(took_us);
        match result {
            Ok(server) => self.by_server.entry(server).or_default().add(Served { calls: 1, took }),
            Err(code) => {
                self.failed += 1;
                *self.codes.entry(code as i32).or_default() += 1;
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        for (server, served) in &other.by_server {
            self.by_server.entry(*server).or_default().add(*served);
        }
        self.latency_us.add(&other.latency_us).expect("histograms of one shape");
    }

    /// A server's calls over the mean of all that should have had some.
    pub(super) fn share(&self, server: u32, servers: u32) -> f64 {
        let calls = |served: &Served| served.calls;
        let total: u64 = self.by_server.values().map(calls).sum();
        #[expect(clippy::cast_precision_loss, reason = "counts of calls")]
        let (its, total) = (self.by_server.get(&server).map_or(0, calls) as f64, total as f64);
        its * f64::from(servers) / total
    }

    /// The bound of most scenarios, with the codes of failures in words.
    pub(super) fn nothing_failed(mut self) -> Self {
        self.kept = self.failed == 0;
        self.add_codes();
        self
    }

    pub(super) fn add_codes(&mut self) {
        for (code, count) in &self.codes {
            let separator = if self.note.is_empty() { "" } else { ", " };
            self.note += &format!("{separator}{count} {:?}", Code::from_i32(*code));
        }
    }
}
