//! Natural batching: whatever waits while one batch runs is the next batch.
//!
//! A lane is one bounded queue in front of a [`Pool`] of workers, which it may share with other lanes. A job that finds
//! its lane idle starts at once. While a batch runs, the next one is begun only when it is full, or when the latest was
//! begun so long ago ([`Bounds::patience`]) that it may be stuck. So batches grow with the load instead of being split
//! up among whoever is idle, which costs a database less than parallel small ones; and one slow batch holds nobody up
//! for long. Jobs may be told to wait for company ([`Bounds::linger`]): where nobody waits for an answer, or while so many
//! come that larger batches save each of them more than it waits. Lanes that want a worker when all work get one in the
//! order in which they asked, and gather meanwhile. Where more waits than one batch takes, callers take turns
//! ([`Work::flow`]): who queues much waits for itself.
//!
//! Promised: every accepted job gets its answer, or [`Refused::Lost`] when its batch panicked. A full queue refuses
//! at once. After [`Runner::stop`] new jobs are refused, waiting ones are still run.

use std::{future::Future, panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    flows::Flows,
    pool::{Loan, Pool},
};

/// What a lane does with its jobs.
pub trait Work: Send + Sync + 'static {
    /// What it takes to do it, such as a connection.
    type Worker: Send + 'static;
    /// One thing to do.
    type Job: Send + 'static;
    /// What came of it.
    type Answer: Send + 'static;

    /// Whose job it is, where that matters: jobs of different flows take turns. All are of one flow by default.
    fn flow(_job: &Self::Job) -> u64 {
        0
    }

    /// Runs a batch. Answers one job each, in the order of the jobs.
    fn run(
        &self,
        worker: &mut Self::Worker,
        batch: Vec<Self::Job>,
    ) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// The bounds of a lane.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Jobs that may wait, those of the next batch included.
    pub queue: usize,
    /// Jobs that one batch takes at most.
    pub batch: usize,
    /// After this time without an answer to the latest batch, another worker takes what waits.
    pub patience: Duration,
    /// How long a job waits for others to go with it, unless they fill a batch.
    pub linger: Duration,
    /// Jobs that must be coming in such a time for anybody to wait so: few callers would wait for nobody. With zero the
    /// first job waits already.
    pub crowd: usize,
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
    /// Bounded by the places.
    queue: mpsc::UnboundedSender<Ticket<J, A>>,
    places: Arc<Semaphore>,
}

/// What runs behind a [`Lane`].
#[derive(Debug)]
pub struct Runner {
    driver: JoinHandle<()>,
    stop: CancellationToken,
}

struct Ticket<J, A> {
    job: J,
    answer: oneshot::Sender<A>,
    /// Among those that wait.
    place: OwnedSemaphorePermit,
}

/// Starts a lane. `name` labels its metrics.
pub fn start<W: Work>(
    name: &'static str,
    work: W,
    pool: &Pool<W::Worker>,
    bounds: Bounds,
) -> (Lane<W::Job, W::Answer>, Runner) {
    let stop = CancellationToken::new();
    let (queue, waiting) = mpsc::unbounded_channel();
    let driver = Driver {
        name,
        work: Arc::new(work),
        pool: pool.clone(),
        bounds,
        running: JoinSet::new(),
        begun: Instant::now(),
        next: Flows::new(),
        gathered_since: Instant::now(),
        arrivals: Arrivals::new(bounds.linger),
    };
    let driver = tokio::spawn(driver.drive(waiting, stop.clone()));
    let places = Arc::new(Semaphore::new(bounds.queue));
    (Lane { queue, places }, Runner { driver, stop })
}

impl<J, A> Lane<J, A> {
    /// Runs a job and waits for its answer. Dropping the wait does not stop the job.
    pub async fn submit(&self, job: J) -> Result<A, Refused> {
        let (answer, answered) = oneshot::channel();
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refused::Full)?;
        let ticket = Ticket { job, answer, place };
        self.queue.send(ticket).map_err(|_closed| Refused::Stopping)?;
        answered.await.map_err(|_| Refused::Lost)
    }
}

impl<J, A> Clone for Lane<J, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), places: self.places.clone() }
    }
}

impl Runner {
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
    work: Arc<W>,
    pool: Pool<W::Worker>,
    bounds: Bounds,
    running: JoinSet<()>,
    /// When the latest batch was.
    begun: Instant,
    /// What waits; the batch that is being gathered is its front.
    next: Flows<Ticket<W::Job, W::Answer>>,
    gathered_since: Instant,
    arrivals: Arrivals,
}

impl<W: Work> Driver<W> {
    async fn drive(
        mut self,
        mut waiting: mpsc::UnboundedReceiver<Ticket<W::Job, W::Answer>>,
        stop: CancellationToken,
    ) {
        let mut came = Vec::new();
        let mut alarm = pin!(sleep(Duration::ZERO));
        let mut open = true;
        while open || self.next.len() > 0 || !self.running.is_empty() {
            let gathered = self.next.len();
            let is_full = gathered >= self.bounds.batch;
            let due = self.due();
            let may_begin = gathered > 0 && (is_full || due <= Instant::now());
            if gathered > 0 && alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = stop.cancelled(), if !waiting.is_closed() => waiting.close(),
                taken = waiting.recv_many(&mut came, self.bounds.batch), if open => {
                    open = taken > 0;
                    self.gather(&mut came);
                }
                loan = self.pool.lend(), if may_begin => self.begin(loan),
                Some(_) = self.running.join_next() => {}
                () = &mut alarm, if gathered > 0 && !may_begin => {}
            }
        }
    }

    fn gather(&mut self, came: &mut Vec<Ticket<W::Job, W::Answer>>) {
        self.arrivals.count(came.len());
        if self.next.len() == 0 {
            self.gathered_since = Instant::now();
        }
        for ticket in came.drain(..) {
            self.next.push(W::flow(&ticket.job), ticket);
        }
    }

    /// When what was gathered may be begun though the batch is not full.
    fn due(&self) -> Instant {
        let crowded = self.arrivals.before >= self.bounds.crowd;
        let linger = if crowded { self.bounds.linger } else { Duration::ZERO };
        let lingered = self.gathered_since + linger;
        match self.running.is_empty() {
            true => lingered,
            false => lingered.max(self.begun + self.bounds.patience),
        }
    }

    fn begin(&mut self, loan: Loan<W::Worker>) {
        let (name, work) = (self.name, Arc::clone(&self.work));
        let tickets = self.next.take(self.bounds.batch);
        metrics::histogram!("lane_batch_jobs", "lane" => name).record(tickets.len() as f64);
        self.running.spawn(serve(name, work, loan, tickets));
        self.begun = Instant::now();
    }
}

/// How many jobs come in a time, counted from the first of them.
struct Arrivals {
    window: Duration,
    since: Instant,
    counted: usize,
    /// What the window before counted. Zero when there was a pause since.
    before: usize,
}

impl Arrivals {
    fn new(window: Duration) -> Self {
        Self { window, since: Instant::now(), counted: 0, before: 0 }
    }

    fn count(&mut self, jobs: usize) {
        let elapsed = self.since.elapsed();
        if elapsed >= self.window {
            self.before = if elapsed < 2 * self.window { self.counted } else { 0 };
            (self.since, self.counted) = (Instant::now(), 0);
        }
        self.counted += jobs;
    }
}

/// Runs one batch and hands out its answers. A caller that left is no reason to stop.
async fn serve<W: Work>(
    name: &'static str,
    work: Arc<W>,
    mut loan: Loan<W::Worker>,
    tickets: Vec<Ticket<W::Job, W::Answer>>,
) {
    let begun = |Ticket { job, answer, place }| {
        drop(place);
        (job, answer)
    };
    let (jobs, answers): (Vec<_>, Vec<_>) = tickets.into_iter().map(begun).unzip();
    let expected = jobs.len();
    let worker = loan.worker();
    let run = async {
        let results = work.run(worker, jobs).await;
        assert_eq!(results.len(), expected, "{name} owes one answer a job");
        results
    };
    let results = AssertUnwindSafe(run).catch_unwind().await;
    // Before the answers: who gets one may have the next job for this worker.
    drop(loan);
    let Ok(results) = results else {
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers each job with the size of its batch, once it is let through.
    struct Gate(Arc<Semaphore>);

    impl Work for Gate {
        type Worker = ();
        type Job = u32;
        type Answer = usize;

        async fn run(&self, (): &mut (), batch: Vec<u32>) -> Vec<usize> {
            self.0.acquire().await.unwrap().forget();
            assert!(!batch.contains(&13), "13 breaks a batch");
            vec![batch.len(); batch.len()]
        }
    }

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A lane with two workers behind one gate.
    fn gate(queue: usize, batch: usize) -> (Arc<Semaphore>, Lane<u32, usize>, Runner) {
        gate_of(&Pool::new(vec![(); 2]), queue, batch)
    }

    /// A lane that shares its workers.
    fn gate_of(
        pool: &Pool<()>,
        queue: usize,
        batch: usize,
    ) -> (Arc<Semaphore>, Lane<u32, usize>, Runner) {
        let bounds = Bounds { queue, batch, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };
        gate_within(pool, bounds)
    }

    fn gate_within(pool: &Pool<()>, bounds: Bounds) -> (Arc<Semaphore>, Lane<u32, usize>, Runner) {
        let gate = Arc::new(Semaphore::new(0));
        let (lane, runner) = start("test", Gate(Arc::clone(&gate)), pool, bounds);
        (gate, lane, runner)
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
        let (gate, lane, runner) = gate(10, 10);
        let first = submit(&lane, &[1]).await;
        let second = submit(&lane, &[2]).await;
        let third = submit(&lane, &[3, 4]).await;
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), [Ok(1)]);
        assert_eq!(second.await.unwrap(), [Ok(3)]);
        assert_eq!(third.await.unwrap(), [Ok(3); 2]);
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_does_not_wait_for_the_one_that_runs() {
        let (gate, lane, runner) = gate(10, 2);
        let first = submit(&lane, &[1]).await;
        let full = submit(&lane, &[2, 3]).await;
        let rest = submit(&lane, &[4]).await;
        // Both workers wait at the gate; the one in front is let through, then the other.
        gate.add_permits(2);
        assert_eq!(full.await.unwrap(), [Ok(2); 2]);
        assert_eq!(first.await.unwrap(), [Ok(1)]);
        gate.add_permits(1);
        assert_eq!(rest.await.unwrap(), [Ok(1)]);
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_is_stuck_holds_others_up_for_no_longer_than_patience_lasts() {
        let (gate, lane, runner) = gate(10, 10);
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
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_whose_batch_is_stuck_holds_no_other_lane_up() {
        let pool = Pool::new(vec![(); 2]);
        let (stuck_gate, stuck, stuck_runner) = gate_of(&pool, 10, 10);
        let (gate, lane, runner) = gate_of(&pool, 10, 10);
        let held_up = submit(&stuck, &[1]).await;
        gate.add_permits(2);
        for _ in 0..2 {
            assert_eq!(submit(&lane, &[2]).await.await.unwrap(), [Ok(1)]);
        }
        stuck_gate.add_permits(1);
        assert_eq!(held_up.await.unwrap(), [Ok(1)]);
        stuck_runner.stop().await;
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_take_turns_with_one_worker_in_the_order_in_which_they_asked_and_gather_meanwhile()
     {
        let pool = Pool::new(vec![()]);
        let (first_gate, first, first_runner) = gate_of(&pool, 10, 10);
        let (second_gate, second, second_runner) = gate_of(&pool, 10, 10);
        let runs = submit(&first, &[1]).await;
        let waits = submit(&second, &[2]).await;
        // Behind the other lane, though its own batch was there first.
        let again = submit(&first, &[3]).await;
        let gathered = submit(&second, &[4, 5]).await;
        first_gate.add_permits(2);
        assert_eq!(runs.await.unwrap(), [Ok(1)]);
        settle().await;
        assert!(!again.is_finished());
        second_gate.add_permits(1);
        assert_eq!(waits.await.unwrap(), [Ok(3)]);
        assert_eq!(gathered.await.unwrap(), [Ok(3); 2]);
        assert_eq!(again.await.unwrap(), [Ok(1)]);
        first_runner.stop().await;
        second_runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_lingers_waits_for_company_until_the_batch_is_full() {
        let linger = Duration::from_millis(50);
        let bounds = Bounds { queue: 10, batch: 3, patience: PATIENCE, linger, crowd: 0 };
        let (gate, lane, runner) = gate_within(&Pool::new(vec![(); 2]), bounds);
        gate.add_permits(9);
        let began = Instant::now();
        let alone = submit(&lane, &[1]).await;
        tokio::time::sleep(linger / 2).await;
        let company = submit(&lane, &[2]).await;
        assert_eq!(alone.await.unwrap(), [Ok(2)]);
        assert_eq!(company.await.unwrap(), [Ok(2)]);
        assert_eq!(began.elapsed(), linger);
        assert_eq!(submit(&lane, &[3, 4, 5]).await.await.unwrap(), [Ok(3); 3]);
        assert_eq!(began.elapsed(), linger);
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_lingers_only_while_a_crowd_comes() {
        let linger = Duration::from_millis(4);
        let bounds = Bounds { queue: 99, batch: 99, patience: PATIENCE, linger, crowd: 3 };
        let (gate, lane, runner) = gate_within(&Pool::new(vec![(); 2]), bounds);
        gate.add_permits(99);
        let mut waits = Vec::new();
        // Two in four milliseconds are no crowd; four are, from the next four milliseconds on; after a pause they are gone.
        for pause in [2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 50, 2] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let (lane, came) = (lane.clone(), Instant::now());
            waits.push(tokio::spawn(async move {
                lane.submit(1).await.unwrap();
                came.elapsed()
            }));
            settle().await;
        }
        let mut waited = Vec::new();
        for wait in waits {
            waited.push(wait.await.unwrap().as_millis());
        }
        assert_eq!(waited, [0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 0, 0]);
        runner.stop().await;
    }

    /// As `Gate`; a job's flow is its hundreds, and its answer how many batches were begun before.
    struct Turns(Arc<Semaphore>, AtomicUsize);

    impl Work for Turns {
        type Worker = ();
        type Job = u32;
        type Answer = usize;

        fn flow(job: &u32) -> u64 {
            u64::from(job / 100)
        }

        async fn run(&self, (): &mut (), batch: Vec<u32>) -> Vec<usize> {
            self.0.acquire().await.unwrap().forget();
            vec![self.1.fetch_add(1, Ordering::Relaxed); batch.len()]
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_queues_much_is_overtaken_by_who_queues_little() {
        let gate = Arc::new(Semaphore::new(0));
        let bounds =
            Bounds { queue: 99, batch: 4, patience: PATIENCE, linger: Duration::ZERO, crowd: 0 };
        let turns = Turns(Arc::clone(&gate), AtomicUsize::new(0));
        let (lane, runner) = start("test", turns, &Pool::new(vec![()]), bounds);
        let much = submit(&lane, &(0..40).collect::<Vec<_>>()).await;
        let little = submit(&lane, &[100, 101]).await;
        gate.add_permits(99);
        assert!(little.await.unwrap().iter().all(|batch| matches!(batch, Ok(0..=2))));
        let last = much.await.unwrap().pop();
        assert_eq!(last, Some(Ok(10)));
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_loses_nothing() {
        let (gate, lane, runner) = gate(2, 1);
        // Two are run, two wait.
        let answers = submit(&lane, &[1, 2]).await;
        let more = submit(&lane, &[3, 4, 5, 6]).await;
        gate.add_permits(9);
        assert_eq!(answers.await.unwrap(), [Ok(1); 2]);
        let refused = more.await.unwrap().into_iter().filter(|it| *it == Err(Refused::Full));
        assert_eq!(refused.count(), 2);
        runner.stop().await;
        assert_eq!(gate.available_permits(), 9 - 4);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_runs_what_waits_and_refuses_what_comes() {
        let (gate, lane, runner) = gate(9, 1);
        let answers = submit(&lane, &[1, 2, 3]).await;
        gate.add_permits(9);
        runner.stop().await;
        assert_eq!(answers.await.unwrap(), [Ok(1); 3]);
        assert_eq!(lane.submit(4).await, Err(Refused::Stopping));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_panics_is_lost_alone() {
        let (gate, lane, runner) = gate(9, 1);
        gate.add_permits(9);
        // More often than there are workers: none is lost with its batch.
        for _ in 0..3 {
            assert_eq!(lane.submit(13).await, Err(Refused::Lost));
        }
        assert_eq!(lane.submit(1).await, Ok(1));
        runner.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_run_though_its_caller_left() {
        let (gate, lane, runner) = gate(9, 9);
        let left = submit(&lane, &[1, 2]).await;
        left.abort();
        gate.add_permits(1);
        runner.stop().await;
        assert_eq!(gate.available_permits(), 0);
    }
}
