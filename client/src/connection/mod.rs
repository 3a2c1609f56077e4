//! One HTTP/2 connection to one endpoint, and the places for calls on it.
//!
//! A call takes a [`Slot`] before it opens a stream. Slots never exceed what the peer allows
//! (`SETTINGS_MAX_CONCURRENT_STREAMS`), so a call never queues inside h2 behind a full connection
//! while another connection is free, nor what the connection's window has room for if none of their
//! answers is read, so that unread answers stop only themselves. A connection gives no slot from the moment a GOAWAY or its end
//! is seen; calls under way keep theirs and finish.

mod connect;
mod driver;
mod facts;
pub(crate) mod failure;
mod frames;
pub(crate) mod health;
mod keepalive;
mod tap;
pub(crate) mod tls;
pub mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::Notify;

pub(crate) use self::connect::{Established, Setup, establish};
pub(crate) use self::driver::Loss;
pub(crate) use self::facts::Facts;
pub(crate) use self::failure::{ConnectError, ConnectFailure};
use self::health::{Health, HealthCell};
pub(crate) use self::keepalive::Keepalive;
use crate::capacity::Capacity;
use crate::pool::EndpointShared;

pub(crate) struct Connection {
    pub(crate) endpoint: Arc<EndpointShared>,
    pub(crate) facts: Arc<Facts>,
    sender: SendRequest<Bytes>,
    streams: Arc<Streams>,
    capacity: Arc<Capacity>,
    health: HealthCell,
}

/// How many streams are open, how many may be, and whether more may come.
#[derive(Debug)]
pub(crate) struct Streams {
    open: AtomicUsize,
    /// What the peer allows, within `most`.
    limit: AtomicUsize,
    most: usize,
    closed: AtomicBool,
    /// Calls that were given a place so far.
    carried: AtomicU32,
    carried_max: u32,
    /// Told when the last of them was.
    spent: Notify,
    /// Whether a call was ever answered here.
    answered: AtomicBool,
}

impl Streams {
    /// Takes no call before it has a limit.
    fn new(most: usize, carried_max: u32) -> Self {
        Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            most,
            closed: AtomicBool::new(false),
            carried: AtomicU32::new(0),
            carried_max,
            spent: Notify::new(),
            answered: AtomicBool::new(false),
        }
    }

    /// Sets what the peer allows. True when it changed.
    fn set_limit(&self, peer: usize) -> bool {
        let limit = peer.min(self.most);
        self.limit.swap(limit, Ordering::Relaxed) != limit
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// No more calls, and somebody has to see to another connection.
    fn spend(&self) {
        self.close();
        self.spent.notify_one();
    }

    fn try_take(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        // Never above the limit, not for a moment: a place that was just given back would look taken.
        let one_more = |open| (open < limit).then_some(open + 1);
        let took = self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok();

        // Beyond the count by a call for each thread at most: ids are left for those.
        if took && self.carried.fetch_add(1, Ordering::Relaxed) + 1 >= self.carried_max {
            self.spend();
        }
        took
    }
}

/// A connection that lived for this long, or answered a call, worked: its loss is no failure.
const WORKED_AFTER: Duration = Duration::from_secs(1);

impl Connection {
    /// Calls under way on this connection.
    pub(crate) fn load(&self) -> usize {
        self.streams.open.load(Ordering::Relaxed)
    }

    /// Calls under way, and one, over the share of recent calls that went well: what a call more would
    /// meet here. An endpoint where nothing goes well still counts as a hundred times as busy, not more.
    pub(crate) fn burden(&self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "a comparison of loads")]
        let load = (self.load() + 1) as f32;
        load / (1.0 - self.endpoint.failure_share()).max(0.01)
    }

    /// What the endpoint's health service said; SERVING where nobody asks.
    pub(crate) fn health(&self) -> Health {
        self.health.get()
    }

    /// Whether new calls may be put here.
    pub(crate) fn is_usable(&self) -> bool {
        !self.streams.closed.load(Ordering::Acquire) && self.facts.goaway().is_none()
    }

    /// A place for one call, unless the connection is full or on its way out.
    pub(crate) fn try_slot(self: &Arc<Self>) -> Option<Slot> {
        let took = self.is_usable() && self.streams.try_take();
        took.then(|| Slot { connection: Arc::clone(self) })
    }

    /// An error on this connection for people: what ended it, if that is known, else the error itself.
    pub(crate) fn describe(&self, error: &dyn std::fmt::Display) -> String {
        let address = &self.endpoint.address;
        match self.facts.lost() {
            Some(why) => format!("{address}: {why}"),
            None => format!("{address}: {error}"),
        }
    }

    /// Stops giving slots; for a caller that found the connection dead before its driver did.
    pub(crate) fn retire(&self) {
        self.streams.close();
    }

    /// As [`retire`](Self::retire), where the connection's driver will find nothing wrong.
    pub(crate) fn spend(&self) {
        self.streams.spend();
    }

    /// Completes when the connection has carried as many calls as it may.
    pub(crate) async fn spent(&self) {
        self.streams.spent.notified().await;
    }

    /// A call was answered here.
    pub(crate) fn answered(&self) {
        // Most often it is known, and a read leaves the line to the other threads.
        if !self.streams.answered.load(Ordering::Relaxed) {
            self.streams.answered.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was good for something: a peer that hangs up on everyone at once is not.
    pub(crate) fn has_worked(&self) -> bool {
        self.streams.answered.load(Ordering::Relaxed) || self.facts.age() >= WORKED_AFTER
    }
}

/// One call's place on a connection, given back on drop.
pub(crate) struct Slot {
    connection: Arc<Connection>,
}

impl Slot {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// A sender of its own: one that waits for a stream to open would hold up the others.
    pub(crate) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before the look at who waits, in one order with `Capacity::wait`.
        self.connection.streams.open.fetch_sub(1, Ordering::SeqCst);
        self.connection.capacity.released();
    }
}
