//! Ctrl-C ends a program in order: what it started is stopped, and the files of its databases are removed.

use std::process::ExitCode;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// The program was told to end.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("told to end by signal {0}")]
pub struct Interrupted(u8);

impl Interrupted {
    /// What a shell makes of the signal.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(128 + self.0)
    }
}

/// Does a program's work until SIGINT or SIGTERM. Then the work is dropped, with everything that it holds.
///
/// # Errors
/// When the signal came first.
///
/// # Panics
/// As [`interrupted`].
pub async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, Interrupted> {
    tokio::select! {
        // The signals first: from then on they end nothing by themselves.
        biased;
        signal = interrupted() => Err(signal),
        done = work => Ok(done),
    }
}

/// Waits for SIGINT or SIGTERM.
///
/// # Panics
/// When the system lets nobody wait for signals.
pub async fn interrupted() -> Interrupted {
    let wait_for = |kind| signal(kind).expect("signals can be waited for");
    let mut interrupt = wait_for(SignalKind::interrupt());
    let mut terminate = wait_for(SignalKind::terminate());
    tokio::select! {
        _ = interrupt.recv() => Interrupted(2),
        _ = terminate.recv() => Interrupted(15),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_drops_the_work_with_all_that_it_holds() {
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let work = async move {
            let _holds = holds;
            kill_process(getpid(), Signal::TERM).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(unless_interrupted(work).await, Err(Interrupted(15)));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(unless_interrupted(async { 7 }).await, Ok(7));
    }
}
