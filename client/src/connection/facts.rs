//! What is known about one connection from the bytes that went by, shared with its calls.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::rustls::{self, AlertDescription};

use super::frames::{Goaway, Seen};

/// Written by the [`Tap`](super::tap::Tap) before h2 sees (or after the socket took) the bytes, so
/// whoever learns of an error from h2 finds the facts behind it already here.
#[derive(Debug)]
pub(crate) struct Facts {
    began: Instant,
    settings: AtomicBool,
    header_list_max: AtomicU32,
    headers_written: AtomicU32,
    last_stream: AtomicU32,
    goaway: OnceLock<Goaway>,
    read_at_ms: AtomicU64,
    lost: OnceLock<String>,
    speaks: OnceLock<Speaks>,
    alert: OnceLock<AlertDescription>,
}

/// A protocol that a peer turned out to speak instead of HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Tls,
    Http1,
}

impl Speaks {
    /// By the first bytes that came in.
    fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // An alert or a handshake record of any version.
            [0x15 | 0x16, 0x03, ..] => Some(Self::Tls),
            [b'H', b'T', b'T', b'P', b'/', ..] => Some(Self::Http1),
            _ => None,
        }
    }
}

impl Facts {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            settings: AtomicBool::new(false),
            header_list_max: AtomicU32::new(u32::MAX),
            headers_written: AtomicU32::new(0),
            last_stream: AtomicU32::new(u32::MAX),
            goaway: OnceLock::new(),
            read_at_ms: AtomicU64::new(0),
            lost: OnceLock::new(),
            speaks: OnceLock::new(),
            alert: OnceLock::new(),
        }
    }

    pub(super) fn read(&self, seen: Seen) {
        match seen {
            Seen::Settings(settings) => {
                if let Some(max) = settings.header_list_max {
                    self.header_list_max.store(max, Ordering::Relaxed);
                }
                self.settings.store(true, Ordering::Release);
            }
            Seen::Goaway(goaway) => {
                // A graceful end sends two; the later one names the lower stream.
                self.last_stream.fetch_min(goaway.last_stream, Ordering::Release);
                self.goaway.get_or_init(|| goaway);
            }
            Seen::Headers(_) => {}
        }
    }

    pub(super) fn wrote(&self, seen: &Seen) {
        if let Seen::Headers(stream) = seen {
            self.headers_written.fetch_max(*stream, Ordering::Release);
        }
    }

    /// Looks at the first bytes that came in.
    pub(super) fn began_with(&self, bytes: &[u8]) {
        if let Some(speaks) = Speaks::of(bytes) {
            self.speaks.get_or_init(|| speaks);
        }
    }

    /// What the peer speaks instead of HTTP/2, if that is known.
    pub(super) fn speaks(&self) -> Option<Speaks> {
        self.speaks.get().copied()
    }

    /// Reading failed; if that was TLS, its alert says why.
    pub(super) fn failed(&self, error: &io::Error) {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(rustls::Error::AlertReceived(alert)) = inner {
            self.alert.get_or_init(|| *alert);
        }
    }

    /// The TLS alert that ended the connection.
    pub(super) fn alert(&self) -> Option<AlertDescription> {
        self.alert.get().copied()
    }

    pub(super) fn mark_read(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.read_at_ms.store(elapsed, Ordering::Relaxed);
    }

    /// When bytes last came in; the connection's start if none did.
    pub(super) fn last_read(&self) -> Instant {
        self.began + Duration::from_millis(self.read_at_ms.load(Ordering::Relaxed))
    }

    /// Whether the peer's first SETTINGS came in, whole.
    pub(super) fn has_settings(&self) -> bool {
        self.settings.load(Ordering::Acquire)
    }

    /// Bytes of metadata that the peer reads, reckoned as RFC 9113 does (6.5.2); any, if it said nothing.
    pub(crate) fn header_list_max(&self) -> u32 {
        self.header_list_max.load(Ordering::Relaxed)
    }

    /// How long ago the connection was begun.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The first GOAWAY that came in.
    pub(crate) fn goaway(&self) -> Option<&Goaway> {
        self.goaway.get()
    }

    /// Whether the peer can have seen anything of this stream.
    pub(crate) fn was_written(&self, stream: u32) -> bool {
        stream <= self.headers_written.load(Ordering::Acquire)
    }

    /// Whether a GOAWAY said that this stream was not looked at.
    pub(crate) fn was_disowned(&self, stream: u32) -> bool {
        stream > self.last_stream.load(Ordering::Acquire)
    }

    pub(super) fn set_lost(&self, why: String) {
        self.lost.get_or_init(|| why);
    }

    /// Why the connection ended, once its driver has said so.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }
}
