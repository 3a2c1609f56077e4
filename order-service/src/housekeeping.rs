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
//! - *Deaths*: the leases of processes that fell silent are ended, and their keys driven on at once.
//! - *Outbox*: rows that fell due go to the [`settler`](crate::settler). What stands there is shown by the gauges
//!   `order_settlements_refused` and `order_outbox_oldest_seconds`, the same by every pod.
//! - *Keys*: partitions ahead, old ones away. When none can be made, readiness says so while there are still some
//!   ([`Upkeep`]): by the last of them it would be too late. What cannot be dropped is tried ever more rarely, because
//!   each attempt holds claims up for a moment.

use std::{sync::Arc, time::Duration};

use database::Reason;
use failpoint::Point;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    order::Notice,
    placement::Placement,
    storage::{Ended, Store, Tables, outbox::Backlog},
};

/// Overdue keys driven on at once.
const KEYS: usize = 256;

/// The least time between two rounds, however many keys wait: where none can be taken over, nothing spins.
const BREATH: Duration = Duration::from_millis(50);

/// Due outbox rows leased in one round.
const NOTICES: usize = 1024;

/// Fewer days with room for keys than this, and no way to make more: the service is not ready.
const DAYS_AHEAD_MIN: i64 = 2;

/// Rounds that are left out at most after attempts to let go of old keys failed.
const ROUNDS_LEFT_OUT_MAX: u32 = 15;

/// What the last round found of the key table.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upkeep {
    /// Days after today that have room for keys, as far as known.
    pub days_ahead: Option<i64>,
    /// Why no more could be made, if so.
    pub failed: Option<Reason>,
}

/// How rarely old keys are tried to be let go of.
#[derive(Debug, Default)]
struct Rarely {
    failures: u32,
    left_out: u32,
}

/// How often each piece of work is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Overdue keys.
    pub keys: Duration,
    /// Due outbox rows.
    pub notices: Duration,
    /// Dead processes.
    pub deaths: Duration,
    /// What stands in the outbox, for metrics.
    pub backlog: Duration,
    /// The key table.
    pub partitions: Duration,
}

/// Keeps house until stopped.
pub async fn keep<B: Tables>(
    mut store: Store<B>,
    placement: Placement,
    notices: mpsc::Sender<Notice>,
    rounds: Rounds,
    upkeep: watch::Sender<Upkeep>,
    stop: CancellationToken,
) {
    show(Backlog::NONE);
    let periods = [rounds.keys, rounds.deaths, rounds.notices, rounds.backlog, rounds.partitions];
    let [mut keys, mut deaths, mut due, mut backlog, mut partitions] = periods.map(|period| {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let room = Arc::new(Semaphore::new(KEYS));
    let (mut more, mut rarely) = (false, Rarely::default());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = partitions.tick() => {
                upkeep.send_replace(make_room(&mut store).await);
                let_go(&mut store, &mut rarely).await;
            }
            _ = backlog.tick() => show_backlog(&mut store).await,
            _ = due.tick() => lease_notices(&mut store, &notices).await,
            // What a dead process began is not left to the next look.
            _ = deaths.tick() => if reap(&mut store).await {
                more = complete(&mut store, &placement, &room).await;
            },
            _ = keys.tick() => more = complete(&mut store, &placement, &room).await,
            () = all_landed(&room), if more => more = complete(&mut store, &placement, &room).await,
        }
    }
}

/// Drives on as many overdue keys as there is room for. Answers whether it took up that many, and there may be more. A
/// failed round is logged and tried again at the next tick.
async fn complete<B: Tables>(
    store: &mut Store<B>,
    placement: &Placement,
    room: &Arc<Semaphore>,
) -> bool {
    // Keys that a restored backup brought back must not be given up before it is known that it is one.
    if !placement.has_ledger() {
        return false;
    }
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

/// Ends the leases of dead processes. Answers whether there were any on keys.
async fn reap<B: Tables>(store: &mut Store<B>) -> bool {
    match store.reap().await {
        Ok(Ended { processes: 0, .. }) => false,
        Ok(Ended { processes, keys, notices }) => {
            metrics::counter!("order_workers_reaped_total").increment(processes as u64);
            tracing::info!(
                processes,
                keys,
                notices,
                "ended the leases of processes that fell silent"
            );
            keys > 0
        }
        Err(error) => {
            failed("the leases of silent processes were not ended", &error);
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
async fn lease_notices<B: Tables>(store: &mut Store<B>, notices: &mpsc::Sender<Notice>) {
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
async fn show_backlog<B: Tables>(store: &mut Store<B>) {
    match store.backlog().await {
        Ok(backlog) => show(backlog),
        Err(error) => failed("the outbox was not counted", &error),
    }
}

fn show(Backlog { refused, oldest }: Backlog) {
    metrics::gauge!("order_settlements_refused").set(refused as f64);
    metrics::gauge!("order_outbox_oldest_seconds").set(oldest.as_secs_f64());
}

async fn make_room<B: Tables>(store: &mut Store<B>) -> Upkeep {
    let made = store.make_room().await;
    if let Err(error) = &made {
        failed("no room was made for the keys of days to come", error);
        metrics::counter!("order_housekeeping_failed_total", "work" => "make_room").increment(1);
    }
    let days_ahead = store.days_ahead().await.ok().flatten();
    if let Some(days) = days_ahead {
        metrics::gauge!("order_partitions_ahead_days").set(days as f64);
    }
    Upkeep { days_ahead, failed: made.err().map(|error| error.reason()) }
}

async fn let_go<B: Tables>(store: &mut Store<B>, rarely: &mut Rarely) {
    if !rarely.is_due() {
        return;
    }
    match store.keep_keys().await {
        Ok(gone) => {
            rarely.succeeded();
            if gone > 0 {
                tracing::info!(gone, "let go of old keys");
            }
        }
        Err(error) => {
            rarely.failed();
            failed("old keys were not let go of", &error);
            metrics::counter!("order_housekeeping_failed_total", "work" => "drop_old").increment(1);
        }
    }
}

impl Upkeep {
    /// Whether keys of the next days will find room.
    ///
    /// # Errors
    /// A sentence for the readiness page.
    pub fn judge(&self) -> Result<(), String> {
        match (self.days_ahead, self.failed) {
            (Some(days), Some(reason)) if days < DAYS_AHEAD_MIN => Err(format!(
                "the key table has partitions for {days} days after today, and no more can be made ({reason}): \
                 `order-service migrate`, run by the tables' owner, makes them"
            )),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}

impl Rarely {
    /// Whether this round is one to try in.
    fn is_due(&mut self) -> bool {
        let due = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        due
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Leaves out 1, 3, 7 and then always 15 rounds.
    fn failed(&mut self) {
        self.failures = (self.failures + 1).min(ROUNDS_LEFT_OUT_MAX.ilog2() + 1);
        self.left_out = 2_u32.pow(self.failures) - 1;
    }
}

fn failed(what: &'static str, error: &database::StoreError) {
    let source = std::error::Error::source(error).map(tracing::field::display);
    tracing::warn!(%error, source, reason = error.reason().as_str(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_dropped_is_tried_ever_more_rarely_and_after_a_success_every_round() {
        let mut rarely = Rarely::default();
        let mut gaps = Vec::new();
        for _ in 0..6 {
            rarely.failed();
            gaps.push((0..).take_while(|_| !rarely.is_due()).count());
        }
        assert_eq!(gaps, [1, 3, 7, 15, 15, 15]);
        rarely.succeeded();
        assert!(rarely.is_due() && rarely.is_due());
    }

    #[test]
    fn housekeeping_that_fails_is_told_before_the_last_partition_is_used() {
        let upkeep = |days_ahead, failed| Upkeep { days_ahead, failed };
        assert!(upkeep(Some(3), Some(Reason::Privilege)).judge().is_ok());
        assert!(upkeep(Some(0), None).judge().is_ok(), "the next round makes more");
        let told = upkeep(Some(1), Some(Reason::Privilege)).judge().unwrap_err();
        assert!(told.contains("this role lacks a privilege"), "{told}");
    }
}
