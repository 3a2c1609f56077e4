//! When requests are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::{Answer, Record, Verdict, Work};

/// Requests of an open loop that may be unanswered at once. More than that is a system that has
/// stopped answering, and holding more would only measure this program's memory.
pub const OUTSTANDING_MAX: usize = 50_000;

/// How finely an open loop keeps its schedule.
const TICK: Duration = Duration::from_millis(1);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, however the system answers.
    Open {
        /// Requests a second.
        per_second: f64,
    },
    /// So many unanswered at any time; each is followed by the next.
    Closed {
        /// Requests under way.
        in_flight: usize,
    },
}

/// Requests being sent, until [`Run::finish`], or until it is dropped.
#[must_use = "a run ends when it is dropped"]
pub struct Run {
    stop: DropGuard,
    sender: JoinHandle<u64>,
}

impl Run {
    /// Starts sending, from the request with this number on.
    pub fn start<W: Work>(work: Arc<W>, pace: Pace, first: u64, record: Arc<Record>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let sender = match pace {
            Pace::Open { per_second } => {
                tokio::spawn(open(work, per_second, first, record, stopped))
            }
            Pace::Closed { in_flight } => {
                tokio::spawn(closed(work, in_flight, first, record, stopped))
            }
        };
        Self { stop: stop.drop_guard(), sender }
    }

    /// Stops sending, waits for the answers, and tells the number of the next request.
    pub async fn finish(self) -> u64 {
        drop(self.stop);
        self.sender.await.expect("sending does not panic")
    }
}

async fn open<W: Work>(
    work: Arc<W>,
    per_second: f64,
    first: u64,
    record: Arc<Record>,
    stopped: CancellationToken,
) -> u64 {
    let (began, places) = (Instant::now(), Arc::new(Semaphore::new(OUTSTANDING_MAX)));
    let requests = TaskTracker::new();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent = 0_u32;
    loop {
        tokio::select! {
            biased;
            () = stopped.cancelled() => break,
            _ = tick.tick() => {}
        }
        loop {
            let due = began + Duration::from_secs_f64(f64::from(sent) / per_second);
            if due > Instant::now() {
                break;
            }
            let number = first + u64::from(sent);
            sent += 1;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                record.note(due, Answer::at_once(Verdict::Failed(Code::ResourceExhausted)));
                continue;
            };
            let (work, record) = (Arc::clone(&work), Arc::clone(&record));
            record.send();
            requests.spawn(async move {
                let answer = work.send(number).await;
                record.note(due, answer);
                drop(place);
            });
        }
    }
    requests.close();
    requests.wait().await;
    first + u64::from(sent)
}

async fn closed<W: Work>(
    work: Arc<W>,
    in_flight: usize,
    first: u64,
    record: Arc<Record>,
    stopped: CancellationToken,
) -> u64 {
    let next = Arc::new(AtomicU64::new(first));
    let callers = TaskTracker::new();
    for _ in 0..in_flight {
        let (work, record, next) = (Arc::clone(&work), Arc::clone(&record), Arc::clone(&next));
        let stopped = stopped.clone();
        callers.spawn(async move {
            while !stopped.is_cancelled() {
                let due = Instant::now();
                record.send();
                let answer = work.send(next.fetch_add(1, Ordering::Relaxed)).await;
                record.note(due, answer);
            }
        });
    }
    callers.close();
    callers.wait().await;
    next.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, but for a stall of everything at one number.
    struct Stalling {
        at: u64,
        stall: Duration,
    }

    impl Work for Stalling {
        async fn send(&self, number: u64) -> Answer {
            if number >= self.at {
                tokio::time::sleep(self.stall).await;
            }
            Answer::at_once(Verdict::Done)
        }
    }

    async fn run(pace: Pace, work: Stalling, time: Duration) -> (u64, Arc<Record>) {
        let record = Arc::new(Record::default());
        let run = Run::start(Arc::new(work), pace, 7, Arc::clone(&record));
        tokio::time::sleep(time).await;
        (run.finish().await, record)
    }

    #[tokio::test]
    async fn an_open_loop_goes_on_sending_while_nothing_is_answered() {
        let stall = Duration::from_secs(1);
        let work = Stalling { at: 0, stall };
        let pace = Pace::Open { per_second: 200.0 };
        let (next, record) = run(pace, work, Duration::from_millis(500)).await;
        let total = record.total();
        assert!((90..=101).contains(&total.done), "{} requests in half a second", total.done);
        assert_eq!(next, 7 + total.done);
        assert!(total.quantile_ms(0.01) >= 990.0, "{}", total.quantile_ms(0.01));
    }

    #[tokio::test]
    async fn a_closed_loop_keeps_so_many_in_flight_and_no_more() {
        let work = Stalling { at: 0, stall: Duration::from_millis(100) };
        let pace = Pace::Closed { in_flight: 3 };
        let (next, record) = run(pace, work, Duration::from_millis(450)).await;
        // Each of the three sends at 0, 100, … 400 ms; a slow machine sends fewer.
        let done = record.total().done;
        assert!((3..=15).contains(&done), "{done}");
        assert_eq!(next, 7 + done);
    }
}
