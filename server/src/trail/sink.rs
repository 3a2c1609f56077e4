//! Where the lines of the audit trail go: through a bounded buffer to a thread that writes.
//!
//! Handing a line in appends it to memory. A thread of its own takes whatever is there and writes it as one piece, so a
//! pipe that nobody reads or a disk that hangs stops that thread and no call. What cannot be written is kept and tried
//! again each second, in order and whole. Beyond [`BYTES_MAX`] lines are lost, which is never silent:
//! `audit_lines_lost_total` counts them, the readiness page and the log say so, and once writing works again the trail
//! itself has a line that tells how many are missing there. Calls go on meanwhile, and the pod stays ready: what stops
//! one pod's trail, such as a full disk or a dead collector, usually stops all of them, and a service without a trail
//! is better than none.
//!
//! Calls that certainly changed nothing may fill one half of the buffer only, so that a crowd of refused callers cannot
//! push out the lines of those that did something.
//!
//! A file is appended to, and opened anew when it was moved away, as log rotation does.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Code;

use super::output::{Appender, Batch, Output};
use super::{line, wall_clock};
use crate::metrics::{AUDIT_FAILING, AUDIT_LINES, AUDIT_LINES_LOST};

/// What may wait to be written, some ten thousand lines; as much again may be on its way.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// After a write that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// After a write that would have blocked: the reader of a pipe that is not waited for.
const GLANCE: Duration = Duration::from_millis(10);

/// At the end: the time in which what waits is expected to be written.
pub(super) const FLUSH: Duration = Duration::from_millis(500);

/// Where the audit trail goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditLog {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output, which carries nothing else: logs go to standard error.
    Stdout,
    /// A file that is appended to.
    File(PathBuf),
}

impl FromStr for AuditLog {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        match raw {
            "off" => Ok(Self::Off),
            "stdout" => Ok(Self::Stdout),
            path if path.contains('/') => Ok(Self::File(path.into())),
            _ => Err("is neither stdout nor off nor a path such as /var/log/audit.jsonl"),
        }
    }
}

/// Whether a call may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    MayHaveChanged,
    ChangedNothing,
}

impl Weight {
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::ResourceExhausted
            | Code::Unimplemented => Self::ChangedNothing,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::MayHaveChanged,
        }
    }
}

/// The trail of one server. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Trail {
    shared: Arc<Shared>,
    written: Mutex<Option<oneshot::Receiver<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something waits, or the end has come.
    news: Condvar,
    lines: Counter,
    lost: Counter,
    failing: Gauge,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Lost since the last line that could be handed in.
    lost: u64,
    lost_ever: u64,
    /// Why the last write failed; `None` when it did not.
    failure: Option<String>,
    closed: bool,
}

impl Trail {
    /// Opens the trail and starts its thread. `None`: it is off.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be started.
    pub(crate) fn open(log: &AuditLog) -> io::Result<Option<Self>> {
        match log {
            AuditLog::Off => Ok(None),
            AuditLog::Stdout => Self::start(Appender::stdout()?).map(Some),
            AuditLog::File(path) => Self::start(Appender::file(path)?).map(Some),
        }
    }

    fn start(output: impl Output) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            news: Condvar::new(),
            lines: metrics::counter!(AUDIT_LINES),
            lost: metrics::counter!(AUDIT_LINES_LOST),
            failing: metrics::gauge!(AUDIT_FAILING),
        });
        // So that a rule which alerts on them finds them before anything is wrong.
        shared.lost.increment(0);
        shared.failing.set(0.0);

        let (tell, written) = oneshot::channel();
        let writing = shared.clone();
        thread::Builder::new().name("audit".to_owned()).spawn(move || {
            writing.keep_writing(output);
            // Nobody waits where the server was dropped without running.
            let _told = tell.send(());
        })?;
        Ok(Self { shared, written: Mutex::new(Some(written)) })
    }

    /// Hands a line in, or counts it as lost.
    pub(crate) fn write(&self, line: &[u8], weight: Weight) {
        self.shared.hand_in(line, weight);
    }

    /// What people should know about this trail; `None` when all is well.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        let lost = (state.lost_ever > 0).then(|| format!("{} lines were lost", state.lost_ever));
        let failing = state.failure.as_ref().map(|why| format!("cannot be written: {why}"));
        match (failing, lost) {
            (Some(failing), Some(lost)) => Some(format!("{failing}; {lost}")),
            (failing, lost) => failing.or(lost),
        }
    }

    /// Writes what waits and ends the thread, within [`FLUSH`]. Nothing may be handed in any more.
    pub(crate) async fn close(&self) {
        self.shared.close();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written
            && timeout(FLUSH, written).await.is_err()
        {
            tracing::error!("the end of the audit trail is not written: what it goes to hangs");
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    fn hand_in(&self, line: &[u8], weight: Weight) {
        let room = match weight {
            Weight::MayHaveChanged => BYTES_MAX,
            Weight::ChangedNothing => BYTES_MAX / 2,
        };
        let mut state = self.lock();
        if state.waiting.len() + line.len() > room {
            state.lost += 1;
            state.lost_ever += 1;
            self.lost.increment(1);
            return;
        }
        if state.lost > 0 {
            let gap = line::gap(wall_clock(), std::mem::take(&mut state.lost));
            state.waiting.extend_from_slice(&gap);
        }
        state.waiting.extend_from_slice(line);
        drop(state);

        self.lines.increment(1);
        self.news.notify_one();
    }

    /// Until closed and written.
    fn keep_writing(&self, mut output: impl Output) {
        let mut batch = Batch::default();
        while self.take(&mut batch) {
            while let Err(why) = batch.write_to(&mut output) {
                if !self.failed(&why) {
                    self.give_up(&batch);
                    return;
                }
            }
            self.recovered();
        }
    }

    /// Waits for lines and makes them the batch. False: there will be none.
    fn take(&self, batch: &mut Batch) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return false;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        batch.refill(&mut state.waiting);
        true
    }

    /// Notes a failure and pauses. False: the end has come, and this was the last try.
    fn failed(&self, why: &io::Error) -> bool {
        let pause = if why.kind() == ErrorKind::WouldBlock { GLANCE } else { PAUSE };
        let mut state = self.lock();
        let is_new = state.failure.replace(why.to_string()).is_none();
        drop(state);

        if is_new && why.kind() != ErrorKind::WouldBlock {
            self.failing.set(1.0);
            tracing::warn!(%why, "the audit trail cannot be written: kept in memory, then lost");
        }
        let state = self.lock();
        let closed = |state: &mut State| !state.closed;
        let (state, _) = self
            .news
            .wait_timeout_while(state, pause, closed)
            .unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }

    /// Counts what is left at the end.
    fn give_up(&self, batch: &Batch) {
        let mut state = self.lock();
        let left = batch.left() + count(&std::mem::take(&mut state.waiting));
        state.lost_ever += left;
        drop(state);

        self.lost.increment(left);
        tracing::error!(lines = left, "the end of the audit trail could not be written");
    }

    fn recovered(&self) {
        let mut state = self.lock();
        let failed = state.failure.take();
        let lost = state.lost_ever;
        drop(state);
        if failed.is_some() {
            self.failing.set(0.0);
            tracing::info!(lost, "the audit trail is written again");
        }
    }
}

/// How many lines this is.
pub(super) fn count(lines: &[u8]) -> u64 {
    let newlines = lines.iter().filter(|byte| **byte == b'\n').count();
    u64::try_from(newlines).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
