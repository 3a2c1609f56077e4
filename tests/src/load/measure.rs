//! One measurement: warm up, count, wait for the last answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CpuUse, Figures, Pace, Record, Run, Work};

/// How a measurement is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// When requests are sent.
    pub pace: Pace,
    /// The number of the first request.
    pub first: u64,
    /// How long requests are sent before they count; zero: every request counts.
    pub warm_up: Duration,
}

/// What came of a measurement.
#[derive(Debug)]
pub struct Measured {
    /// Its figures.
    pub figures: Figures,
    /// Second by second.
    pub record: Arc<Record>,
    /// The number of the request that would have been next.
    pub next: u64,
}

/// Measures until `counting` is over, which is shown what was recorded so far. `cpu` tells the CPU time used up to now.
pub async fn measure<W: Work>(
    work: W,
    plan: Plan,
    cpu: impl Fn() -> CpuUse,
    counting: impl AsyncFnOnce(&Record),
) -> Measured {
    let (work, Plan { pace, mut first, warm_up }) = (Arc::new(work), plan);
    if !warm_up.is_zero() {
        let warming = Run::start(Arc::clone(&work), pace, first, Arc::default());
        tokio::time::sleep(warm_up).await;
        first = warming.finish().await;
    }

    let record = Arc::new(Record::default());
    let (began, cpu_before) = (Instant::now(), cpu());
    let running = Run::start(work, pace, first, Arc::clone(&record));
    counting(&record).await;
    let time = began.elapsed();
    let next = running.finish().await;
    let cpu = cpu() - cpu_before;
    // In a closed loop, waiting for what was under way at the end is time spent too.
    let time = match pace {
        Pace::Closed { .. } => began.elapsed(),
        Pace::Open { .. } => time,
    };
    Measured { figures: Figures { tally: record.total(), time, cpu }, record, next }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::load::{Answer, Verdict};

    /// Takes a moment and counts.
    struct Counting(Arc<AtomicU64>);

    impl Work for Counting {
        async fn send(&self, _number: u64) -> Answer {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.0.fetch_add(1, Ordering::Relaxed);
            Answer::at_once(Verdict::Done)
        }
    }

    #[tokio::test]
    async fn without_a_warm_up_every_request_counts() {
        let sent = Arc::new(AtomicU64::new(0));
        let plan = Plan { pace: Pace::Closed { in_flight: 4 }, first: 0, warm_up: Duration::ZERO };
        let work = Counting(Arc::clone(&sent));
        let counting = async |_: &Record| tokio::time::sleep(Duration::from_millis(50)).await;
        let measured = measure(work, plan, CpuUse::default, counting).await;
        assert_eq!(measured.figures.tally.requests(), sent.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_is_sent_to_warm_up_does_not_count_and_everything_sent_is_answered() {
        let sent = Arc::new(AtomicU64::new(0));
        let pace = Pace::Closed { in_flight: 4 };
        let plan = Plan { pace, first: 7, warm_up: Duration::from_millis(50) };
        let time = Duration::from_millis(100);
        let work = Counting(Arc::clone(&sent));
        let counting = async |_: &Record| tokio::time::sleep(time).await;
        let measured = measure(work, plan, CpuUse::default, counting).await;
        let counted = measured.figures.tally.requests();
        assert!(counted > 0 && counted < sent.load(Ordering::Relaxed), "{counted}");
        assert_eq!(measured.next, 7 + sent.load(Ordering::Relaxed));
        assert!(measured.figures.time >= time);
    }
}
