//! A foreign server as a process.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::tools::Tools;

/// Whose implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Core,
    Js,
}

impl Language {
    pub(crate) const ALL: [Self; 2] = [Self::Core, Self::Js];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "grpc-core",
            Self::Js => "grpc-js",
        }
    }
}

/// A server under way. Killed with its owner.
pub(crate) struct Foreign {
    pub(crate) address: SocketAddr,
    process: Child,
}

/// An interpreter starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

impl Foreign {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(tools: &Tools, language: Language) -> Result<Self, String> {
        let mut command = match language {
            Language::Core => {
                let mut command = Command::new(tools.python());
                command.arg(tools.source("server.py"));
                command
            }
            Language::Js => {
                let mut command = Command::new("node");
                command.arg(tools.source("server.mjs"));
                command.arg(tools.node()).arg(tools.source("oracle.proto"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process =
            command.spawn().map_err(|error| format!("starting {}: {error}", language.name()))?;
        let stdout = process.stdout.take().ok_or("a server without standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let port = line.ok().and_then(Result::ok).flatten().and_then(|line| line.parse().ok());
        let port: u16 = port.ok_or_else(|| format!("{} told no port", language.name()))?;
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), process })
    }

    /// SIGTERM: no new calls, those under way may finish.
    pub(crate) fn drain(&self) {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The only failure for a child not waited for yet is that it has ended.
            let _sent_or_ended = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus, String> {
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.map_err(|_| "the server did not end".to_owned())?.map_err(|error| error.to_string())
    }
}
