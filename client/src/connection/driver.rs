//! The task that drives one connection: moves its frames, notices GOAWAY, pings.
//!
//! It tells its endpoint once, when the peer takes no more calls on the connection ([`Loss`]). After a GOAWAY
//! it goes on until the last call has ended, which the peer bounds.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Ping, PingPong};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Streams;
use super::connect::Setup;
use super::facts::Facts;
use super::frames::Goaway;
use super::keepalive::Keepalive;
use super::tap::Tap;
use super::transport::Io;
use crate::capacity::Capacity;

/// Why a connection takes no more calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The peer said GOAWAY; calls under way go on.
    Goaway(Goaway),
    /// It has carried as many calls as a connection may; calls under way go on.
    Spent,
    /// The connection ended.
    Ended(String),
}

pub(super) struct Driver {
    h2: h2::client::Connection<Tap<Box<dyn Io>>, Bytes>,
    ping_pong: Option<PingPong>,
    facts: Arc<Facts>,
    streams: Arc<Streams>,
    keepalive: Arc<Keepalive>,
    capacity: Arc<Capacity>,
    alarm: Pin<Box<Sleep>>,
    phase: Phase,
    tell: Option<oneshot::Sender<Loss>>,
}

/// What the alarm is set for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer has been silent for long enough to be asked.
    Quiet,
    /// The answer to our ping, sent at this moment, is overdue.
    Asked(Instant),
}

impl Driver {
    pub(super) fn new(
        mut h2: h2::client::Connection<Tap<Box<dyn Io>>, Bytes>,
        facts: Arc<Facts>,
        streams: Arc<Streams>,
        setup: &Setup,
        tell: oneshot::Sender<Loss>,
    ) -> Self {
        let ping_pong = h2.ping_pong();
        let alarm = Box::pin(sleep_until(Instant::now() + setup.keepalive.time()));
        let (keepalive, capacity) = (Arc::clone(&setup.keepalive), Arc::clone(&setup.capacity));
        Self {
            h2,
            ping_pong,
            facts,
            streams,
            keepalive,
            capacity,
            alarm,
            phase: Phase::Quiet,
            tell: Some(tell),
        }
    }

    pub(super) async fn run(mut self) {
        let why = poll_fn(|cx| self.poll(cx)).await;
        // Without calls in progress GOAWAY is the end, and there was no turn in which to note it.
        self.note_goaway();
        self.facts.set_lost(why.clone());
        self.streams.close();
        tracing::debug!(why, "connection ended");
        self.tell(Loss::Ended(why));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        match Pin::new(&mut self.h2).poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready("closed by the peer".to_owned()),
            Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
            Poll::Pending => {}
        }
        self.note_limit();
        self.note_goaway();
        self.poll_keepalive(cx)
    }

    /// What h2 itself allows is asked, and not whether SETTINGS went by: h2 may act on them later.
    fn note_limit(&mut self) {
        if self.streams.set_limit(self.h2.max_concurrent_send_streams()) {
            self.capacity.grown();
        }
    }

    fn note_goaway(&mut self) {
        if self.tell.is_some()
            && let Some(goaway) = self.facts.goaway().cloned()
        {
            self.streams.close();
            if goaway.reason == h2::Reason::ENHANCE_YOUR_CALM {
                self.keepalive.double();
            }
            self.tell(Loss::Goaway(goaway));
        }
    }

    fn tell(&mut self, loss: Loss) {
        if let Some(tell) = self.tell.take() {
            // Nobody listens when the endpoint was removed: then nobody needs to know.
            let _ = tell.send(loss);
        }
    }

    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        let Some(ping_pong) = self.ping_pong.as_mut() else { return Poll::Pending };
        // Registers for the pong; that it came shows in `last_read` like every other byte.
        while let Poll::Ready(Ok(_)) = ping_pong.poll_pong(cx) {
            self.phase = Phase::Quiet;
            self.alarm.as_mut().reset(self.facts.last_read() + self.keepalive.time());
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let last_read = self.facts.last_read();
            let next = match self.phase {
                Phase::Asked(asked) if last_read < asked => {
                    return Poll::Ready("keepalive timeout".to_owned());
                }
                Phase::Asked(_) | Phase::Quiet => last_read + self.keepalive.time(),
            };
            let now = Instant::now();
            self.phase = Phase::Quiet;
            if next > now {
                self.alarm.as_mut().reset(next);
                continue;
            }
            let has_calls = self.streams.open.load(Ordering::Relaxed) > 0;
            let asks = has_calls || self.keepalive.without_calls;
            if asks && ping_pong.send_ping(Ping::opaque()).is_ok() {
                self.phase = Phase::Asked(now);
                self.alarm.as_mut().reset(now + self.keepalive.timeout);
            } else {
                self.alarm.as_mut().reset(now + self.keepalive.time());
            }
        }
        Poll::Pending
    }
}
