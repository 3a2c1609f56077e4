//! The sweeper: expires holds whose time has come.
//!
//! Nothing waits for it. Every decision and every read counts a due hold as expired already; the sweeper only makes the
//! rows say so, so that due holds stay few. Several pods may sweep side by side: each takes what the others have not
//! locked. A round that fails is logged and tried again at the next interval.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::storage::{Store, Tables};

/// Holds that one transaction expires at most: its locks are short.
const BATCH: u32 = 500;

/// Transactions in a row before the next interval is waited for.
const ROUNDS_MAX: u32 = 40;

/// Sweeps at each interval until it is told to stop.
pub async fn sweep<B: Tables>(mut store: Store<B>, every: Duration, stop: CancellationToken) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        sweep_due(&mut store, &stop).await;
    }
}

async fn sweep_due<B: Tables>(store: &mut Store<B>, stop: &CancellationToken) {
    for _ in 0..ROUNDS_MAX {
        match store.expire(BATCH).await {
            Ok(0) => return,
            Ok(holds) => {
                metrics::counter!("account_holds_expired_total").increment(holds);
                tracing::info!(holds, "holds expired");
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(tracing::field::display);
                return tracing::warn!(%error, source, "due holds were not swept");
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}
