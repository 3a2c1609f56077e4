//! One HTTP/2 connection to one endpoint, and the places for calls on it.
//!
//! A call takes a [`Slot`] before it opens a stream. Slots never exceed what the peer allows
//! (`SETTINGS_MAX_CONCURRENT_STREAMS`), so a call never queues inside h2 behind a full connection
//! while another connection is free. A connection gives no slot from the moment a GOAWAY or its end
//! is seen; calls under way keep theirs and finish.

mod connect;
mod driver;
mod facts;
mod frames;
pub(crate) mod health;
mod keepalive;
mod tap;
pub(crate) mod tls;
pub mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;

pub(crate) use self::connect::{ConnectError, Established, Setup, establish};
pub(crate) use self::driver::Loss;
pub(crate) use self::facts::Facts;
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
    limit: AtomicUsize,
    closed: AtomicBool,
}

impl Streams {
    fn new(limit: usize) -> Self {
        Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            closed: AtomicBool::new(false),
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn try_take(&self) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        // Never above the limit, not for a moment: a place that somebody just gave back would look taken.
        let one_more = |open| (open < limit).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }
}

impl Connection {
    /// Calls under way on this connection.
    pub(crate) fn load(&self) -> usize {
        self.streams.open.load(Ordering::Relaxed)
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
