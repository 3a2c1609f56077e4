//! When to leave, and when to leave at once.
//!
//! The first signal starts the drain, the second ends it. Signals past the second say nothing
//! new and are dropped.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The order to leave, given to [`Bound::run`](crate::Bound::run).
#[derive(Debug)]
pub struct Signals {
    received: mpsc::Receiver<&'static str>,
}

impl Signals {
    /// SIGTERM and SIGINT of this process, which from now on no longer end it by themselves.
    ///
    /// # Errors
    /// When the system refuses a signal handler.
    pub fn of_process() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (sender, received) = mpsc::channel(2);
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    () = sender.closed() => return,
                };
                // A full queue already holds everything that can still be said.
                let _told_or_full = sender.try_send(name);
            }
        });
        Ok(Self { received })
    }

    /// Signals given by hand, for tests and for programs that embed a server.
    #[must_use]
    pub fn by_hand() -> (Trigger, Self) {
        let (sender, received) = mpsc::channel(2);
        (Trigger { sender }, Self { received })
    }

    /// Waits for the next signal and tells its name. Without any sender left it waits for ever.
    pub(crate) async fn next(&mut self) -> &'static str {
        match self.received.recv().await {
            Some(name) => name,
            None => std::future::pending().await,
        }
    }
}

/// Gives the signals of [`Signals::by_hand`].
#[derive(Clone, Debug)]
pub struct Trigger {
    sender: mpsc::Sender<&'static str>,
}

impl Trigger {
    /// The first call starts the drain, the second ends it at once.
    pub fn fire(&self) {
        let _told_or_full = self.sender.try_send("trigger");
    }
}
