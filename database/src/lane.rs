//! Natural batching: whatever waits while one batch runs is the next batch.
//!
//! Jobs are spread over lanes by a key, so that jobs with one key never run side by side in this process. Each lane
//! has a bounded queue and one worker. There is no timer: a job that finds its lane idle starts at once, and under
//! load batches grow to what the database takes per round trip.
//!
//! Promised: every accepted job gets its answer, or [`Refused::Lost`] when its batch panicked. A full queue refuses
//! at once. After [`Workers::stop`] new jobs are refused, waiting ones are still run.

use std::{
    future::Future,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt;
use thiserror::Error;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinSet,
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

/// The bounds of each lane.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Jobs that may wait.
    pub queue: usize,
    /// Jobs that one batch takes at most.
    pub batch: usize,
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
pub struct Lanes<J, A> {
    queues: Arc<[mpsc::Sender<Ticket<J, A>>]>,
}

/// The workers behind [`Lanes`].
#[derive(Debug)]
pub struct Workers {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

struct Ticket<J, A> {
    job: J,
    answer: oneshot::Sender<A>,
}

/// Starts one lane for each worker. `name` labels their metrics.
///
/// # Panics
/// When there is no worker.
pub fn start<W: Work>(
    name: &'static str,
    workers: Vec<W>,
    bounds: Bounds,
) -> (Lanes<W::Job, W::Answer>, Workers) {
    assert!(!workers.is_empty(), "{name} needs a worker");
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let start_lane = |worker| {
        let (queue, waiting) = mpsc::channel(bounds.queue);
        tasks.spawn(drive(name, worker, waiting, bounds.batch, stop.clone()));
        queue
    };
    let queues = workers.into_iter().map(start_lane).collect();
    (Lanes { queues }, Workers { tasks, stop })
}

impl<J, A> Lanes<J, A> {
    /// Runs a job in the lane of `key` and waits for its answer. Dropping the wait does not stop the job.
    pub async fn submit(&self, key: impl Hash, job: J) -> Result<A, Refused> {
        let (answer, answered) = oneshot::channel();
        let lane = BuildHasherDefault::<DefaultHasher>::default().hash_one(key) as usize
            % self.queues.len();
        self.queues[lane].try_send(Ticket { job, answer }).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Closed(_) => Refused::Stopping,
        })?;
        answered.await.map_err(|_| Refused::Lost)
    }
}

impl<J, A> Clone for Lanes<J, A> {
    fn clone(&self) -> Self {
        Self { queues: Arc::clone(&self.queues) }
    }
}

impl Workers {
    /// Refuses new jobs, runs those that wait, and returns when all lanes are empty.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn drive<W: Work>(
    name: &'static str,
    mut worker: W,
    mut waiting: mpsc::Receiver<Ticket<W::Job, W::Answer>>,
    bound: usize,
    stop: CancellationToken,
) {
    let mut tickets = Vec::with_capacity(bound);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !waiting.is_closed() => waiting.close(),
            taken = waiting.recv_many(&mut tickets, bound) => match taken {
                0 => return,
                size => {
                    metrics::histogram!("lane_batch_jobs", "lane" => name).record(size as f64);
                    serve(name, &mut worker, tickets.drain(..)).await;
                }
            },
        }
    }
}

/// Runs one batch and hands out its answers. A caller that left is no reason to stop.
async fn serve<W: Work>(
    name: &'static str,
    worker: &mut W,
    tickets: impl Iterator<Item = Ticket<W::Job, W::Answer>>,
) {
    let (jobs, answers): (Vec<_>, Vec<_>) = tickets.map(|t| (t.job, t.answer)).unzip();
    let expected = jobs.len();
    let ran = AssertUnwindSafe(worker.run(jobs)).catch_unwind().await;
    let Ok(results) = ran else {
        metrics::counter!("lane_panics_total", "lane" => name).increment(1);
        tracing::error!(lane = name, jobs = expected, "a batch panicked");
        return;
    };
    assert_eq!(results.len(), expected, "{name} owes one answer a job");
    for (answer, result) in answers.into_iter().zip(results) {
        drop(answer.send(result));
    }
}

#[cfg(test)]
mod tests {
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

    fn gate(queue: usize, batch: usize) -> (Arc<Semaphore>, Lanes<u32, usize>, Workers) {
        let gate = Arc::new(Semaphore::new(0));
        let (lanes, workers) =
            start("test", vec![Gate(Arc::clone(&gate))], Bounds { queue, batch });
        (gate, lanes, workers)
    }

    /// Submits jobs one after the other; each is in its queue when this returns.
    fn submit(
        lanes: &Lanes<u32, usize>,
        jobs: &[u32],
    ) -> Vec<impl Future<Output = Result<usize, Refused>>> {
        jobs.iter()
            .map(|job| {
                let lanes = lanes.clone();
                let job = *job;
                let mut wait = Box::pin(async move { lanes.submit(0, job).await });
                let first = (&mut wait).now_or_never();
                async move {
                    match first {
                        Some(answer) => answer,
                        None => wait.await,
                    }
                }
            })
            .collect()
    }

    #[tokio::test]
    async fn what_waits_while_a_batch_runs_is_the_next_batch() {
        let (gate, lanes, workers) = gate(10, 10);
        let first = submit(&lanes, &[1]);
        tokio::task::yield_now().await;
        let rest = submit(&lanes, &[2, 3, 4]);
        gate.add_permits(2);
        assert_eq!(futures_util::future::join_all(first).await, [Ok(1)]);
        assert_eq!(futures_util::future::join_all(rest).await, [Ok(3); 3]);
        workers.stop().await;
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_loses_nothing() {
        let (gate, lanes, workers) = gate(2, 2);
        let waits = submit(&lanes, &[1, 2, 3, 4]);
        gate.add_permits(9);
        let answers = futures_util::future::join_all(waits).await;
        assert_eq!(answers, [Ok(2), Ok(2), Err(Refused::Full), Err(Refused::Full)]);
        workers.stop().await;
    }

    #[tokio::test]
    async fn stopping_runs_what_waits_and_refuses_what_comes() {
        let (gate, lanes, workers) = gate(9, 1);
        let waits = submit(&lanes, &[1, 2, 3]);
        gate.add_permits(9);
        workers.stop().await;
        assert_eq!(futures_util::future::join_all(waits).await, [Ok(1); 3]);
        assert_eq!(lanes.submit(0, 4).await, Err(Refused::Stopping));
    }

    #[tokio::test]
    async fn a_batch_that_panics_is_lost_alone() {
        let (gate, lanes, workers) = gate(9, 1);
        gate.add_permits(9);
        assert_eq!(lanes.submit(0, 13).await, Err(Refused::Lost));
        assert_eq!(lanes.submit(0, 1).await, Ok(1));
        workers.stop().await;
    }

    #[tokio::test]
    async fn a_job_is_run_though_its_caller_left() {
        let (gate, lanes, workers) = gate(9, 9);
        drop(submit(&lanes, &[1, 2]));
        gate.add_permits(1);
        workers.stop().await;
        assert_eq!(gate.available_permits(), 0);
    }
}
