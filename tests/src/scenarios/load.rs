//! Steady callers and what became of their calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use tonic::Code;

use super::callers::Caller;
use super::foreign::Foreign;
use super::pods::Fleet;
use crate::HarnessError;
use crate::echo::Ping;

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

    fn merge(&mut self, other: &Self) {
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

/// Callers at work.
pub(super) struct Load {
    work: Work,
    caller: Caller,
}

enum Work {
    Here { stop: Arc<AtomicBool>, callers: Vec<JoinHandle<Outcome>> },
    There(Box<Foreign>),
}

impl Load {
    pub(super) async fn start(caller: &Caller, plan: Plan) -> Result<Self, HarnessError> {
        let work = match caller {
            Caller::Foreign { client, servers, config } => {
                Work::There(Box::new(client.start(servers, config, plan).await?))
            }
            Caller::Holdfast(_) | Caller::Balance { .. } => Work::here(caller, plan),
        };
        Ok(Self { work, caller: caller.clone() })
    }

    /// Lets the calls under way end and counts. Duplicates are looked up in what the servers wrote.
    pub(super) async fn finish(self, fleet: &Fleet) -> Result<Outcome, HarnessError> {
        let mut all = self.work.finish().await?;
        all.retries = self.caller.retries();
        all.duplicates = fleet.duplicates()?;
        Ok(all)
    }
}

impl Work {
    fn here(caller: &Caller, plan: Plan) -> Self {
        let (stop, ids) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let callers = (0..plan.callers)
            .map(|_| {
                tokio::spawn(call_on(caller.clone(), plan, Arc::clone(&stop), Arc::clone(&ids)))
            })
            .collect();
        Self::Here { stop, callers }
    }

    async fn finish(self) -> Result<Outcome, HarnessError> {
        match self {
            Self::There(foreign) => foreign.finish().await,
            Self::Here { stop, callers } => {
                stop.store(true, Ordering::Relaxed);
                let mut all = Outcome::new();
                for caller in callers {
                    all.merge(&caller.await.expect("a caller does not panic"));
                }
                Ok(all)
            }
        }
    }
}

async fn call_on(
    caller: Caller,
    plan: Plan,
    stop: Arc<AtomicBool>,
    ids: Arc<AtomicU64>,
) -> Outcome {
    let mut outcome = Outcome::new();
    while !stop.load(Ordering::Relaxed) {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let ping = Ping { id, work_ms: plan.work_ms, server: 0 };
        let result = caller.ping(plan.method, ping, plan.timeout).await;
        let failed = result.is_err();
        let result = result.map(|ping| ping.server).map_err(|status| status.code());
        outcome.record(result, began.elapsed());
        if failed {
            // A caller that fails at once must not drown the others in its failures.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    outcome
}
