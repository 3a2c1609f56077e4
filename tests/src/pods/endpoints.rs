//! Which pods a Service routes to, and when who learns of it.
//!
//! The truth changes in one moment: a pod becomes ready, is deleted, is found dead. Whoever routes
//! by it, DNS and the balancer, sees each change only after a delay of its own, drawn for that
//! change. A later change may overtake an earlier one, never the other way round: what was seen
//! once is not unseen. At most one pending change a pod and a direction is under way, so the memory
//! is bounded by how fast pods come and go.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// The ready pods of one Service.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    truth: watch::Sender<BTreeSet<Ipv4Addr>>,
}

/// How long a change takes to be seen.
#[derive(Clone, Debug)]
pub struct Delay {
    /// Each as likely as the others.
    pub range: RangeInclusive<Duration>,
    /// Decides the draws.
    pub seed: u64,
}

/// What one observer sees of a slice. Dropped, it stops looking.
#[derive(Debug)]
pub(crate) struct View {
    seen: watch::Receiver<Vec<Ipv4Addr>>,
    _looking: AbortOnDropHandle<()>,
}

impl Slice {
    pub(crate) fn new() -> Self {
        Self { truth: watch::Sender::new(BTreeSet::new()) }
    }

    /// Routes to a pod, or no longer.
    pub(crate) fn set(&self, pod: Ipv4Addr, ready: bool) {
        self.truth.send_if_modified(
            |pods| {
                if ready { pods.insert(pod) } else { pods.remove(&pod) }
            },
        );
    }

    /// What somebody sees who learns late.
    pub(crate) fn seen_after(&self, delay: Delay) -> View {
        let truth = self.truth.subscribe();
        let (seen, told) = watch::channel(truth.borrow().iter().copied().collect());
        let looking = tokio::spawn(look(truth, seen, delay));
        View { seen: told, _looking: AbortOnDropHandle::new(looking) }
    }
}

impl View {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<Ipv4Addr>> {
        self.seen.clone()
    }
}

async fn look(
    mut truth: watch::Receiver<BTreeSet<Ipv4Addr>>,
    seen: watch::Sender<Vec<Ipv4Addr>>,
    delay: Delay,
) {
    let mut random = StdRng::seed_from_u64(delay.seed);
    let (mut newest_seen, mut changes) = (0_u64, 0_u64);
    let mut on_the_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            changed = truth.changed() => {
                if changed.is_err() {
                    return;
                }
                changes += 1;
                let (change, wait) = (changes, random.random_range(delay.range.clone()));
                let pods: Vec<Ipv4Addr> = truth.borrow_and_update().iter().copied().collect();
                on_the_way.push(async move {
                    sleep(wait).await;
                    (change, pods)
                });
            }
            Some((change, pods)) = on_the_way.next() => {
                if change > newest_seen {
                    newest_seen = change;
                    seen.send_replace(pods);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    fn pod(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 1, last)
    }

    /// When each change of one pod was seen, for a seed.
    async fn delays(seed: u64) -> Vec<Duration> {
        let slice = Slice::new();
        let view = slice.seen_after(Delay { range: SHORTEST..=LONGEST, seed });
        let mut seen = view.subscribe();
        let mut delays = Vec::new();
        for change in 0..20 {
            let (began, ready) = (Instant::now(), change % 2 == 0);
            slice.set(pod(1), ready);
            seen.wait_for(|pods| pods.contains(&pod(1)) == ready).await.unwrap();
            delays.push(began.elapsed());
        }
        delays
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_seen_after_a_delay_within_the_range_that_the_seed_decides() {
        let first = delays(1).await;
        // The timer's granularity is a millisecond.
        let longest = LONGEST + Duration::from_millis(2);
        assert!(first.iter().all(|delay| (SHORTEST..=longest).contains(delay)), "{first:?}");
        assert!(first.iter().max() > first.iter().min(), "{first:?}");
        assert_eq!(first, delays(1).await);
        assert_ne!(first, delays(2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_not_unseen_when_an_earlier_change_arrives_later() {
        for seed in 0..50 {
            let slice = Slice::new();
            let view = slice.seen_after(Delay { range: SHORTEST..=LONGEST, seed });
            let mut seen = view.subscribe();
            for last in 1..=10 {
                slice.set(pod(last), true);
                tokio::task::yield_now().await;
            }
            let mut most = 0;
            while most < 10 {
                seen.changed().await.unwrap();
                let now = seen.borrow_and_update().len();
                assert!(now > most, "seed {seed}: {now} after {most}");
                most = now;
            }
            tokio::time::sleep(LONGEST).await;
            assert_eq!(seen.borrow().len(), 10, "seed {seed}");
        }
    }
}
