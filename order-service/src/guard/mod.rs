//! The guard: a first look at Redis, before the database is asked to claim a key (A20, B5).
//!
//! **Never the authority.** A lock in Redis says that somebody *probably* has the key, so the key is read before it is
//! claimed: a duplicate then costs a read instead of a write. No lock, no answer, a wrong answer and no Redis at all
//! lead to the same place, the claim, where the database decides. So a Redis that was killed, stopped, flushed or filled
//! with stale locks changes no answer, only how often the database is asked to write.
//!
//! - *Lock*: `SET holdfast:order:<account>:<key> <boot>:<number> NX PX <ttl>`, the TTL never longer than the key's lease.
//! - *Kept* when the key was decided: until the TTL ends, duplicates read. *Released* otherwise, by compare-and-delete,
//!   after the caller has its answer and never in its way.
//! - *Bounds*: a look takes 5 ms at most; after a few failures in a row nobody looks for a second
//!   (`breaker.rs`). Releases wait in a queue of 4096; what does not fit is freed by its TTL.
//!
//! Counted: `order_guard_looks_total` by outcome (`first`, `taken`, `late`, `error`, `skipped`),
//! `order_guard_stale_total` (taken in Redis, unknown to the database), `order_guard_releases_total` by outcome,
//! `order_guard_breaker_total` by change.

mod address;
mod breaker;
mod connection;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::order::request::Request;
pub use address::RedisAddress;
use breaker::{Breaker, Change};
use connection::Connection;
pub use connection::{GuardError, RedisTls};

/// How long a look may take: what a duplicate gains is less than this.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long a lock lasts at most (B5).
const TTL_MAX: Duration = Duration::from_secs(30);

/// Releases that may wait.
const RELEASES: usize = 4096;

/// How long connecting and releasing may take; nobody waits for either.
const BACKGROUND_PATIENCE: Duration = Duration::from_millis(250);

/// Deletes a lock only while it is the asker's own: the TTL may have ended, and somebody else have it.
const COMPARE_AND_DELETE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Looks at Redis, if there is one. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Option<Arc<Looks>>);

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// Nobody had it; it is ours while this lives, and after [`Look::keep`] until the TTL ends.
    First(Lock),
    /// Somebody probably has the key: read it first.
    Taken,
    /// Redis has nothing to say.
    Nothing,
}

/// A lock that is released when dropped.
#[derive(Debug)]
pub struct Lock {
    release: Option<Release>,
    releases: mpsc::Sender<Release>,
}

struct Looks {
    connection: Connection,
    breaker: Mutex<Breaker>,
    boot: Uuid,
    number: AtomicU64,
    ttl: Duration,
    releases: mpsc::Sender<Release>,
}

#[derive(Debug)]
struct Release {
    name: String,
    token: String,
}

impl Guard {
    /// No guard: every look finds nothing.
    pub fn absent() -> Self {
        Self(None)
    }

    /// A guard at this address, for keys with this lease, whose locks begin with `boot`. Connects when it is first used.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn open(
        address: &RedisAddress,
        tls: Option<RedisTls>,
        lease: Duration,
        boot: Uuid,
    ) -> Result<Self, GuardError> {
        let connection = Connection::open(address, tls)?;
        let (releases, waiting) = mpsc::channel(RELEASES);
        tokio::spawn(release(connection.clone(), waiting));
        Ok(Self(Some(Arc::new(Looks {
            connection,
            breaker: Mutex::default(),
            boot,
            number: AtomicU64::new(0),
            ttl: TTL_MAX.min(lease),
            releases,
        }))))
    }

    /// Looks whether somebody has the request's key, and leaves a lock if nobody has.
    pub async fn look(&self, request: &Request) -> Look {
        match &self.0 {
            Some(looks) => looks.look(request).await,
            None => Look::Nothing,
        }
    }
}

impl Look {
    /// Whether the key is to be read before it is claimed.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Taken)
    }

    /// The key is decided: whoever asks again reads.
    pub fn keep(self) {
        if let Self::First(mut lock) = self {
            lock.release = None;
        }
    }
}

/// Counts a lock without a row: left by a claim that never came about, or by anybody.
pub fn count_stale() {
    metrics::counter!("order_guard_stale_total").increment(1);
}

impl Looks {
    async fn look(&self, request: &Request) -> Look {
        if !self.breaker().permits(Instant::now()) {
            return counted("skipped", Look::Nothing);
        }
        let name = format!("holdfast:order:{}:{}", request.account, request.key.as_str());
        let token = format!("{}:{}", self.boot, self.number.fetch_add(1, Ordering::Relaxed));
        match timeout(PATIENCE, self.set(&name, &token)).await {
            Ok(Ok(set)) => {
                noted(self.breaker().succeeded(), None);
                if !set {
                    return counted("taken", Look::Taken);
                }
                let releases = self.releases.clone();
                let lock = Lock { release: Some(Release { name, token }), releases };
                counted("first", Look::First(lock))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "Redis did not answer");
                noted(self.breaker().failed(Instant::now()), Some(&error));
                counted("error", Look::Nothing)
            }
            // Perhaps the lock is ours all the same. It then costs the next one a read, until the TTL ends.
            Err(_) => {
                noted(self.breaker().failed(Instant::now()), None);
                counted("late", Look::Nothing)
            }
        }
    }

    async fn set(&self, name: &str, token: &str) -> RedisResult<bool> {
        let ttl_ms = u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX);
        let mut connection = self.connection.current();
        let mut set = redis::cmd("SET");
        set.arg(name).arg(token).arg("NX").arg("PX").arg(ttl_ms.max(1));
        let answer: Option<String> = set.query_async(&mut connection).await?;
        Ok(answer.is_some())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // No code that can panic runs under this lock.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(release) = self.release.take()
            && self.releases.try_send(release).is_err()
        {
            count_release("dropped");
        }
    }
}

/// Releases locks until everybody who could have one is gone.
async fn release(connection: Connection, mut waiting: mpsc::Receiver<Release>) {
    while let Some(Release { name, token }) = waiting.recv().await {
        let mut connection = connection.current();
        let mut command = redis::cmd("EVAL");
        command.arg(COMPARE_AND_DELETE).arg(1).arg(&name).arg(&token);
        let deleted = timeout(BACKGROUND_PATIENCE, command.query_async::<u32>(&mut connection));
        count_release(match deleted.await {
            Ok(Ok(0)) => "over",
            Ok(Ok(_)) => "done",
            Ok(Err(_)) | Err(_) => "failed",
        });
    }
}

fn counted(outcome: &'static str, look: Look) -> Look {
    metrics::counter!("order_guard_looks_total", "outcome" => outcome).increment(1);
    look
}

fn count_release(outcome: &'static str) {
    metrics::counter!("order_guard_releases_total", "outcome" => outcome).increment(1);
}

/// Logs a change, with the failure that made it; without one Redis was late.
fn noted(change: Change, failure: Option<&RedisError>) {
    let change = match change {
        Change::None => return,
        Change::Opened => {
            match failure {
                Some(error) if is_refusal(error) => {
                    tracing::warn!(%error, "Redis refuses this user or its password: it is not asked for a while");
                }
                Some(error) => {
                    tracing::warn!(%error, "Redis does not answer: it is not asked for a while");
                }
                None => {
                    tracing::warn!("Redis does not answer in time: it is not asked for a while")
                }
            }
            "opened"
        }
        Change::Closed => {
            tracing::info!("Redis answers again");
            "closed"
        }
    };
    metrics::counter!("order_guard_breaker_total", "change" => change).increment(1);
}

/// Whether Redis answers and turns this service away, which no waiting mends.
fn is_refusal(error: &RedisError) -> bool {
    let refused = matches!(error.code(), Some("NOAUTH" | "NOPERM" | "WRONGPASS"));
    refused || error.kind() == ErrorKind::AuthenticationFailed
}
