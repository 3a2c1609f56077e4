//! What nobody asks for and somebody must do: finish what dead processes left, keep the key table in shape.
//!
//! One task with one connection of its own. Several processes may keep house side by side; each piece of work is leased
//! or fenced in the database.
//!
//! - *Completer*: keys whose lease is over are driven on from the stored request (A16); after the give-up time they are
//!   decided as failed and a release is left in the outbox, so that no money stays held. So many at once and no more:
//!   while the account service is away, each holds its place until its call is given up, and keys that were handed back
//!   wait behind the others. While there are more, the next round sets out as soon as the last one has landed: a backlog
//!   goes as fast as it can be decided, not at the pace of the looks.
//! - *Outbox*: rows that fell due go to the [`settler`](crate::settler). What stands there is shown by the gauges
//!   `order_settlements_refused` and `order_outbox_oldest_seconds`, the same by every pod.
//! - *Keys*: partitions ahead, old ones away.

use std::{sync::Arc, time::Duration};

use failpoint::Point;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    order::Notice,
    placement::Placement,
    storage::{Store, outbox::Backlog},
};

/// Overdue keys driven on at once.
const KEYS: usize = 256;

/// The least time between two rounds, however many keys wait: where none can be taken over, nothing spins.
const BREATH: Duration = Duration::from_millis(50);

/// Due outbox rows leased in one round.
const NOTICES: usize = 1024;

/// How often each piece of work is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Overdue keys.
    pub keys: Duration,
    /// Due outbox rows.
    pub notices: Duration,
    /// What stands in the outbox, for metrics.
    pub backlog: Duration,
    /// The key table.
    pub partitions: Duration,
}

/// Keeps house until stopped.
pub async fn keep<S: Store>(
    mut store: S,
    placement: Placement,
    notices: mpsc::Sender<Notice>,
    rounds: Rounds,
    stop: CancellationToken,
) {
    show(Backlog::NONE);
    let periods = [rounds.keys, rounds.notices, rounds.backlog, rounds.partitions];
    let [mut keys, mut due, mut backlog, mut partitions] = periods.map(|period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let room = Arc::new(Semaphore::new(KEYS));
    let mut more = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = partitions.tick() => keep_keys(&mut store).await,
            _ = backlog.tick() => show_backlog(&mut store).await,
            _ = due.tick() => lease_notices(&mut store, &notices).await,
            _ = keys.tick() => more = complete(&mut store, &placement, &room).await,
            () = all_landed(&room), if more => more = complete(&mut store, &placement, &room).await,
        }
    }
}

/// Drives on as many overdue keys as there is room for. Answers whether it took up that many, and there may be more. A
/// failed round is logged and tried again at the next tick.
async fn complete<S: Store>(store: &mut S, placement: &Placement, room: &Arc<Semaphore>) -> bool {
    let places: Vec<_> = std::iter::from_fn(|| Arc::clone(room).try_acquire_owned().ok()).collect();
    let free = places.len();
    if free == 0 {
        return true;
    }
    match store.overdue(free).await {
        Ok(overdue) if overdue.is_empty() => false,
        Ok(overdue) => {
            failpoint::reach(Point::OverdueRead);
            tracing::info!(keys = overdue.len(), "taking up keys that were left behind");
            let resume = |(overdue, place)| usize::from(placement.resume(overdue, place));
            overdue.into_iter().zip(places).map(resume).sum::<usize>() == free
        }
        Err(error) => {
            failed("overdue keys were not read", &error);
            false
        }
    }
}

/// Waits until no key is being driven on.
async fn all_landed(room: &Semaphore) {
    // Nobody closes it.
    drop(room.acquire_many(KEYS as u32).await);
    sleep(BREATH).await;
}

/// Passes due rows on. What does not fit falls due again; while many wait here already, none are leased.
async fn lease_notices<S: Store>(store: &mut S, notices: &mpsc::Sender<Notice>) {
    if notices.capacity() < notices.max_capacity() - NOTICES {
        return;
    }
    match store.lease_notices(NOTICES.min(notices.capacity())).await {
        Ok(due) if due.is_empty() => {}
        Ok(due) => {
            failpoint::reach(Point::NoticesLeased);
            due.into_iter().for_each(|notice| drop(notices.try_send(notice)));
        }
        Err(error) => failed("due notices were not leased", &error),
    }
}

/// Shows what stands in the outbox. While that cannot be read, what was read last is shown.
async fn show_backlog<S: Store>(store: &mut S) {
    match store.backlog().await {
        Ok(backlog) => show(backlog),
        Err(error) => failed("the outbox was not counted", &error),
    }
}

fn show(Backlog { refused, oldest }: Backlog) {
    metrics::gauge!("order_settlements_refused").set(refused as f64);
    metrics::gauge!("order_outbox_oldest_seconds").set(oldest.as_secs_f64());
}

async fn keep_keys<S: Store>(store: &mut S) {
    match store.keep_keys().await {
        Ok(0) => {}
        Ok(gone) => tracing::info!(gone, "let go of old keys"),
        Err(error) => failed("the key table was not kept", &error),
    }
}

fn failed(what: &'static str, error: &database::StoreError) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    tracing::warn!(%error, source, "{what}");
}
