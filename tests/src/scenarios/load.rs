//! Steady callers, in this process or in one of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::callers::Caller;
use super::foreign::Foreign;
use super::outcome::{Outcome, Plan};
use super::pods::Fleet;
use crate::HarnessError;
use crate::echo::Ping;

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
