//! Which faults happen when: a pure function of the seed.
//!
//! Faults follow each other with calm between them, so that what each leaves behind is seen by the next. Every kind
//! that the backend can have comes once, in an order of the seed's choosing, before any comes again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

/// The calm between two faults.
const CALM_MS: std::ops::Range<u64> = 200..900;

/// Where the books are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A private server.
    Postgres,
    /// Files.
    Sqlite,
}

/// A fault with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When it begins, since the run began.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// How long it lasts; what does not last heals at once.
    pub lasts: Duration,
}

/// What goes wrong. Pods are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Fault {
    /// SIGKILL of an order pod; restarted at the end.
    KillOrderPod(usize),
    /// SIGKILL of an account pod; restarted at the end.
    KillAccountPod(usize),
    /// SIGKILL of a pod of each service; from its restart at the end its clock is hours off, this way or that.
    SkewClock(usize),
    /// SIGSTOP of an order pod, for longer than its leases: a zombie when it wakes.
    FreezeOrderPod(usize),
    /// SIGSTOP of an order pod that has money held for keys it is about to decide, while nobody can reach the account
    /// pods: its keys are given up and their money is released before it wakes.
    OutliveGivingUp(usize),
    /// SIGSTOP of an account pod.
    FreezeAccountPod(usize),
    /// SIGKILL of PostgreSQL; restarted at the end.
    KillDatabase,
    /// Connections of the order pods to PostgreSQL are cut right after COMMIT was sent, several times.
    CutCommits,
    /// Bytes between the pods are late.
    SlowNetwork,
    /// What order pods say does not reach the account pods until the end.
    HoldRequests,
    /// What account pods answer does not reach the order pods until the end.
    HoldAnswers,
    /// The order pods cannot reach the account pods at all.
    Partition,
    /// SIGKILL of Redis; restarted at the end.
    KillRedis,
    /// SIGSTOP of Redis.
    FreezeRedis,
    /// FLUSHALL.
    FlushRedis,
    /// Decided keys go, as when their lifetime is over: of those that placed an order the order lives on, the others are free.
    ForgetKeys,
    /// The database of orders is copied. When the load is over, it goes back to that copy.
    CopyOrders,
}

/// The faults of a run of this length.
#[must_use]
pub fn schedule(seed: u64, length: Duration, backend: Backend) -> Vec<Event> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut events, mut at) = (Vec::new(), Duration::from_millis(1500));
    loop {
        let mut round = kinds(backend, random.random_range(0..2));
        round.shuffle(&mut random);
        for fault in round {
            let lasts = Duration::from_millis(random.random_range(lasts_ms(fault)));
            if at + lasts > length {
                copy_orders(&mut events, &mut random);
                return events;
            }
            events.push(Event { at, fault, lasts });
            at += lasts + Duration::from_millis(random.random_range(CALM_MS));
        }
    }
}

/// Puts the copy into a calm of the run's third quarter: what it misses is much, and not all.
fn copy_orders(events: &mut Vec<Event>, random: &mut StdRng) {
    let (from, to) = (events.len() / 2, 3 * events.len() / 4);
    if from == 0 {
        return;
    }
    let before = random.random_range(from..=to) - 1;
    let Event { at, lasts, .. } = events[before];
    let at = at + lasts + Duration::from_millis(CALM_MS.start / 2);
    let copy = Event { at, fault: Fault::CopyOrders, lasts: Duration::ZERO };
    events.insert(before + 1, copy);
}

/// One of each kind; `pod` is the pod that they meet.
fn kinds(backend: Backend, pod: usize) -> Vec<Fault> {
    let mut kinds = vec![
        Fault::KillOrderPod(pod),
        Fault::KillAccountPod(pod),
        Fault::FreezeOrderPod(pod),
        Fault::OutliveGivingUp(1 - pod),
        Fault::FreezeAccountPod(pod),
        Fault::SlowNetwork,
        Fault::HoldRequests,
        Fault::HoldAnswers,
        Fault::Partition,
        Fault::KillRedis,
        Fault::FreezeRedis,
        Fault::FlushRedis,
        Fault::ForgetKeys,
    ];
    if backend == Backend::Postgres {
        // SQLite has no clock but its pods'.
        kinds.extend([Fault::KillDatabase, Fault::CutCommits, Fault::SkewClock(1 - pod)]);
    }
    kinds
}

const fn lasts_ms(fault: Fault) -> std::ops::Range<u64> {
    match fault {
        Fault::FreezeOrderPod(_) => 5_500..7_500,
        Fault::OutliveGivingUp(_) => 7_000..8_000,
        Fault::HoldRequests | Fault::Partition => 1_000..4_000,
        Fault::KillOrderPod(_)
        | Fault::KillAccountPod(_)
        | Fault::SkewClock(_)
        | Fault::FreezeAccountPod(_) => 300..2_500,
        Fault::KillDatabase | Fault::KillRedis | Fault::FreezeRedis => 300..1_500,
        Fault::CutCommits | Fault::SlowNetwork | Fault::HoldAnswers => 500..2_500,
        Fault::FlushRedis | Fault::ForgetKeys | Fault::CopyOrders => 1..2,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;

    const LONG: Duration = Duration::from_secs(180);

    #[test]
    fn a_seed_says_all_of_it() {
        for backend in [Backend::Postgres, Backend::Sqlite] {
            assert_eq!(schedule(7, LONG, backend), schedule(7, LONG, backend));
            assert_ne!(schedule(7, LONG, backend), schedule(8, LONG, backend));
        }
    }

    #[test]
    fn faults_come_one_after_the_other_and_end_in_time() {
        for seed in 0..100 {
            let events = schedule(seed, LONG, Backend::Postgres);
            assert!(events.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
            assert!(events.iter().all(|event| event.at + event.lasts <= LONG));
        }
    }

    #[test]
    fn every_kind_comes_within_a_minute_and_none_that_the_backend_cannot_have() {
        for seed in 0..100 {
            let minute = Duration::from_secs(60);
            let kinds = |backend| {
                let events = schedule(seed, minute, backend);
                events.iter().map(|event| discriminant(&event.fault)).collect::<HashSet<_>>()
            };
            assert_eq!(kinds(Backend::Postgres).len(), 17, "seed {seed}");
            let sqlite = kinds(Backend::Sqlite);
            assert_eq!(sqlite.len(), 14, "seed {seed}");
            for fault in [Fault::KillDatabase, Fault::CutCommits, Fault::SkewClock(0)] {
                assert!(!sqlite.contains(&discriminant(&fault)), "seed {seed}");
            }
        }
    }
}
