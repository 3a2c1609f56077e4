//! Natural batching: whatever waits while one batch runs is the next batch.
//!
//! A lane is one bounded queue in front of one or more workers. A job that finds all of them idle starts at once.
//! While one works, another is given a batch only when that batch is full, or when the latest was begun so long ago
//! ([`Bounds::patience`]) that it may be stuck. So batches grow with the load instead of being split up among whoever
//! is idle, which costs a database less than parallel small ones; and one slow batch holds nobody up for long.
//!
//! Promised: every accepted job gets its answer, or [`Refused::Lost`] when its batch panicked. A full queue refuses
//! at once. After [`Workers::stop`] new jobs are refused, waiting ones are still run.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, time::Duration};

use futures_util::FutureExt;
use thiserror::Error;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// What a lane's worker does.
pub trait Work: Send + 'static {
    /// One thing to do.
    type Job: Send + 'static;
    /// What came of it.
    type Answer: Send + 'static;

    /// Runs a batch. Answers one job each, in the order of the jobs.
    fn run(&mut self, batch: Vec<Self::Job>) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// The bounds of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Jobs that may wait.
    pub queue: usize,
    /// Jobs that one batch takes at most.
    pub batch: usize,
    /// After this time without an answer to the latest batch, another worker takes what waits.
    pub patience: Duration,
}

/// Why a job has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    /// The lane's queue is full. Nothing was done.
    #[error("too much is waiting already")]
    Full,
    /// The process is stopping. Nothing was done.
    #[error("the service is stopping")]
    Stopping,
    /// The batch panicked; what it did is not known.
    #[error("the work was lost")]
    Lost,
}

/// Hands jobs to workers. Cheap to clone.
pub struct Lane<J, A> {
    queue: mpsc::Sender<Ticket<J, A>>,
}

/// The workers behind a [`Lane`].
#[derive(Debug)]
pub struct Workers {
    driver: JoinHandle<()>,
    stop: CancellationToken,
}

struct Ticket<J, A> {
    job: J,
    answer: oneshot::Sender<A>,
}

/// Starts a lane. `name` labels its metrics.
///
/// # Panics
/// When there is no worker.
pub fn start<W: Work>(
    name: &'static str,
    workers: Vec<W>,
    bounds: Bounds,
) -> (Lane<W::Job, W::Answer>, Workers) {
    assert!(!workers.is_empty(), "{name} needs a worker");
    let stop = CancellationToken::new();
    let (queue, waiting) = mpsc::channel(bounds.queue);
    let driver = Driver { name, bounds, idle: workers, running: JoinSet::new(), next: Vec::new() };
    let driver = tokio::spawn(driver.drive(waiting, stop.clone()));
    (Lane { queue }, Workers { driver, stop })
}

impl<J, A> Lane<J, A> {
    /// Runs a job and waits for its answer. Dropping the wait does not stop the job.
    pub async fn submit(&self, job: J) -> Result<A, Refused> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Ticket { job, answer }).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Closed(_) => Refused::Stopping,
        })?;
        answered.await.map_err(|_| Refused::Lost)
    }
}

impl<J, A> Clone for Lane<J, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl Workers {
    /// Refuses new jobs, runs those that wait, and returns when all are answered.
    pub async fn stop(self) {
        self.stop.cancel();
        // A driver that panicked has nothing left to wait for.
        drop(self.driver.await);
    }
}

/// Gives batches to workers.
struct Driver<W: Work> {
    name: &'static str,
    bounds: Bounds,
    idle: Vec<W>,
    running: JoinSet<W>,
    /// The batch that is being gathered.
    next: Vec<Ticket<W::Job, W::Answer>>,
}

impl<W: Work> Driver<W> {
    async fn drive(
        mut self,
        mut waiting: mpsc::Receiver<Ticket<W::Job, W::Answer>>,
        stop: CancellationToken,
    ) {
        let mut patience = pin!(sleep(Duration::ZERO));
        let mut open = true;
        while open || !self.next.is_empty() || !self.running.is_empty() {
            let room = self.bounds.batch - self.next.len();
            if self.may_begin(patience.is_elapsed()) && self.begin() {
                patience.as_mut().reset(Instant::now() + self.bounds.patience);
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !waiting.is_closed() => waiting.close(),
                Some(worker) = self.running.join_next() => self.idle.extend(worker),
                taken = waiting.recv_many(&mut self.next, room), if open && room > 0 => open = taken > 0,
                () = &mut patience, if !self.next.is_empty() && !patience.is_elapsed() => {}
            }
        }
    }

    /// Whether what was gathered is to be begun, if there is a worker for it.
    fn may_begin(&self, patience_is_over: bool) -> bool {
        let full = self.next.len() >= self.bounds.batch;
        !self.next.is_empty() && (self.running.is_empty() || full || patience_is_over)
    }

    /// Begins a batch. False when all workers work.
    fn begin(&mut self) -> bool {
        let Some(mut worker) = self.idle.pop() else { return false };
        let (name, tickets) = (self.name, std::mem::take(&mut self.next));
        metrics::histogram!("lane_batch_jobs", "lane" => name).record(tickets.len() as f64);
        self.running.spawn(async move {
            serve(name, &mut worker, tickets).await;
            worker
        });
        true
    }
}

/// Runs one batch and hands out its answers. A caller that left is no reason to stop.
async fn serve<W: Work>(
    name: &'static str,
    worker: &mut W,
    tickets: Vec<Ticket<W::Job, W::Answer>>,
) {
    let (jobs, answers): (Vec<_>, Vec<_>) = tickets.into_iter().map(|t| (t.job, t.answer)).unzip();
    let expected = jobs.len();
    let run = async {
        let results = worker.run(jobs).await;
        assert_eq!(results.len(), expected, "{name} owes one answer a job");
        results
    };
    let Ok(results) = AssertUnwindSafe(run).catch_unwind().await else {
        metrics::counter!("lane_panics_total", "lane" => name).increment(1);
        tracing::error!(lane = name, jobs = expected, "a batch panicked");
        return;
    };
    for (answer, result) in answers.into_iter().zip(results) {
        drop(answer.send(result));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    /// Answers each job with the size of its batch, once it is let through.
    struct Gate(Arc<Semaphore>);

    impl Work for Gate {
        type Job = u32;
        type Answer = usize;

        async fn run(&mut self, batch: Vec<u32>) -> Vec<usize> {
            self.0.acquire().await.unwrap().forget();
            assert!(!batch.contains(&13), "13 breaks a batch");
            vec![batch.len(); batch.len()]
        }
    }

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A lane with two workers behind one gate.
    fn gate(queue: usize, batch: usize) -> (Arc<Semaphore>, Lane<u32, usize>, Workers) {
        let gate = Arc::new(Semaphore::new(0));
        let gates = [(); 2].map(|()| Gate(Arc::clone(&gate)));
        let bounds = Bounds { queue, batch, patience: PATIENCE };
        let (lane, workers) = start("test", gates.into(), bounds);
        (gate, lane, workers)
    }

    type Answers = JoinHandle<Vec<Result<usize, Refused>>>;

    /// Submits jobs one after the other, and lets the lane take what it takes.
    async fn submit(lane: &Lane<u32, usize>, jobs: &[u32]) -> Answers {
        let (lane, jobs) = (lane.clone(), jobs.to_vec());
        let answers = tokio::spawn(async move {
            futures_util::future::join_all(jobs.into_iter().map(|job| lane.submit(job))).await
        });
        settle().await;
        answers
    }

    /// Lets every task run until it waits: there is one thread, and time stands still.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_while_a_batch_runs_is_the_next_batch() {
        let (gate, lane, workers) = gate(10, 10);
        let first = submit(&lane, &[1]).await;
        let second = submit(&lane, &[2]).await;
        let third = submit(&lane, &[3, 4]).await;
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), [Ok(1)]);
        assert_eq!(second.await.unwrap(), [Ok(3)]);
        assert_eq!(third.await.unwrap(), [Ok(3); 2]);
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait_for_the_one_that_runs() {
        let (gate, lane, workers) = gate(10, 2);
        let first = submit(&lane, &[1]).await;
        let full = submit(&lane, &[2, 3]).await;
        let rest = submit(&lane, &[4]).await;
        // Both workers wait at the gate; the one in front is let through, then the other.
        gate.add_permits(2);
        assert_eq!(full.await.unwrap(), [Ok(2); 2]);
        assert_eq!(first.await.unwrap(), [Ok(1)]);
        gate.add_permits(1);
        assert_eq!(rest.await.unwrap(), [Ok(1)]);
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_stuck_holds_others_up_for_no_longer_than_patience_lasts() {
        let (gate, lane, workers) = gate(10, 10);
        let stuck = submit(&lane, &[1]).await;
        let began = Instant::now();
        let others = submit(&lane, &[2, 3]).await;
        assert_eq!(gate.available_permits(), 0);
        tokio::time::sleep(PATIENCE / 2).await;
        let late = submit(&lane, &[4]).await;
        tokio::time::sleep(PATIENCE).await;
        // Stuck ones are first in the gate's queue, so that three permits are for all.
        gate.add_permits(2);
        assert_eq!(stuck.await.unwrap(), [Ok(1)]);
        assert_eq!(others.await.unwrap(), [Ok(3); 2]);
        assert_eq!(late.await.unwrap(), [Ok(3)]);
        assert_eq!(began.elapsed(), PATIENCE * 3 / 2);
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_loses_nothing() {
        let (gate, lane, workers) = gate(2, 1);
        // Two are run, one is gathered, two wait.
        let answers = submit(&lane, &[1, 2]).await;
        let more = submit(&lane, &[3, 4, 5, 6]).await;
        gate.add_permits(9);
        assert_eq!(answers.await.unwrap(), [Ok(1); 2]);
        let refused = more.await.unwrap().into_iter().filter(|it| *it == Err(Refused::Full));
        assert_eq!(refused.count(), 2);
        workers.stop().await;
        assert_eq!(gate.available_permits(), 9 - 4);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_runs_what_waits_and_refuses_what_comes() {
        let (gate, lane, workers) = gate(9, 1);
        let answers = submit(&lane, &[1, 2, 3]).await;
        gate.add_permits(9);
        workers.stop().await;
        assert_eq!(answers.await.unwrap(), [Ok(1); 3]);
        assert_eq!(lane.submit(4).await, Err(Refused::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_panics_is_lost_alone() {
        let (gate, lane, workers) = gate(9, 1);
        gate.add_permits(9);
        for _ in 0..3 {
            assert_eq!(lane.submit(13).await, Err(Refused::Lost));
        }
        assert_eq!(lane.submit(1).await, Ok(1));
        workers.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_run_though_its_caller_left() {
        let (gate, lane, workers) = gate(9, 9);
        let left = submit(&lane, &[1, 2]).await;
        left.abort();
        gate.add_permits(1);
        workers.stop().await;
        assert_eq!(gate.available_permits(), 0);
    }
}
