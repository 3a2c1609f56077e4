//! The line of calls that found every connection full. The one in front looks whenever a place comes free; nobody
//! overtakes it, be it a caller who just gave a place back.
//!
//! The number of calls that wait at one time, here or for a first connection, is bounded; one more is
//! refused with RESOURCE_EXHAUSTED at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};

#[derive(Debug)]
pub(crate) struct Capacity {
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Held by the call in front. Fair: who comes first is next.
    front: Mutex<()>,
    notify: Notify,
}

impl Capacity {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            waiting_max,
            front: Mutex::new(()),
            notify: Notify::new(),
        }
    }

    /// A place in the waiting room. Absent when it is full.
    pub(crate) fn enter(&self) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting { capacity: self };
        (before < self.waiting_max).then_some(waiting)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A call ended: its place is for the call in front.
    pub(crate) fn released(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.notify.notify_one();
        }
    }

    /// A peer allows more than before: the call in front may look again, and when it leaves, the next.
    pub(crate) fn grown(&self) {
        self.notify.notify_waiters();
    }
}

/// One call that waits. Counted until dropped.
pub(crate) struct Waiting<'a> {
    capacity: &'a Capacity,
}

impl<'a> Waiting<'a> {
    /// Completes when all who came before have left; this call is in front until the guard is dropped.
    pub(crate) async fn front(&self) -> MutexGuard<'a, ()> {
        self.capacity.front.lock().await
    }

    /// For the call in front: completes when it is worth looking again. Enable it before looking, or a wake-up is missed.
    pub(crate) fn notified(&self) -> Notified<'a> {
        self.capacity.notify.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.capacity.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
