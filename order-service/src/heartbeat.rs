//! The heartbeat: says twice a second that this process lives, and in the end that it is gone.
//!
//! A task and a connection of its own, so that no queue and no long transaction is taken for death; on the same runtime as
//! all else, so that a process whose runtime hangs falls silent. What silence means is said where the leases of the silent
//! are ended (`storage::work::workers`).
//!
//! A beat that fails is tried again with the next one. A process that leaves in order ends its leases itself: nobody needs
//! to wait until it counts as dead. While the database is away, it is left to the others.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::storage::{Ended, Store, Tables};

/// Between two beats.
const EVERY: Duration = Duration::from_millis(500);

/// How long the last word may take.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(1);

/// Beats until stopped, and then ends this process's leases.
pub async fn beat<B: Tables>(mut store: Store<B>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = store.beat().await {
            metrics::counter!("order_heartbeat_failed_total").increment(1);
            tracing::debug!(%error, reason = error.reason().as_str(), "a heartbeat was not written");
        }
    }

    match timeout(RETIRE_TIMEOUT, store.retire()).await {
        Ok(Ok(Ended { keys: 0, notices: 0, .. })) => {}
        Ok(Ok(Ended { keys, notices, .. })) => {
            tracing::info!(keys, notices, "left work to other processes");
        }
        Ok(Err(error)) => tracing::debug!(%error, "leases end by themselves"),
        Err(_) => tracing::debug!("leases end by themselves: the database does not answer"),
    }
}
