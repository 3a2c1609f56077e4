//! Workers that whoever needs one borrows, in the order in which they asked.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Workers that lanes take turns with. Cheap to clone.
#[derive(Debug)]
pub struct Pool<W> {
    idle: Arc<Mutex<Vec<W>>>,
    /// As many permits as there are idle workers.
    free: PollSemaphore,
}

impl<W> Pool<W> {
    /// A pool of these workers.
    ///
    /// # Panics
    /// When there is none: nothing would ever be done.
    pub fn new(workers: Vec<W>) -> Self {
        assert!(!workers.is_empty(), "a pool needs a worker");
        let free = PollSemaphore::new(Arc::new(Semaphore::new(workers.len())));
        Self { idle: Arc::new(Mutex::new(workers)), free }
    }

    /// Waits for a worker. Whoever waits keeps its place though it waits for something else meanwhile.
    pub(crate) async fn lend(&mut self) -> Loan<W> {
        let permit = poll_fn(|context| self.free.poll_acquire(context)).await;
        let permit = permit.expect("the semaphore is never closed");
        let worker = locked(&self.idle).pop().expect("there is a worker for each permit");
        Loan { worker: Some(worker), pool: Arc::clone(&self.idle), _permit: permit }
    }
}

impl<W> Clone for Pool<W> {
    fn clone(&self) -> Self {
        Self { idle: Arc::clone(&self.idle), free: self.free.clone() }
    }
}

/// A worker that is given back when this is dropped, whatever became of its work.
pub(crate) struct Loan<W> {
    worker: Option<W>,
    pool: Arc<Mutex<Vec<W>>>,
    /// Dropped after the worker is back.
    _permit: OwnedSemaphorePermit,
}

impl<W> Loan<W> {
    pub(crate) fn worker(&mut self) -> &mut W {
        self.worker.as_mut().expect("a loan has its worker until it is dropped")
    }
}

impl<W> Drop for Loan<W> {
    fn drop(&mut self) {
        locked(&self.pool).extend(self.worker.take());
    }
}

fn locked<W>(idle: &Mutex<Vec<W>>) -> MutexGuard<'_, Vec<W>> {
    // No code that can panic runs under this lock.
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
