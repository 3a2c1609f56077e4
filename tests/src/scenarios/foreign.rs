//! A client in a process of its own, which makes its calls itself and tells how they went.
//!
//! It is told the servers, the service config and the plan by its command line, says `ready` when it
//! is connected, calls until its standard input ends, and answers with one line of JSON.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::outcome::{Outcome, Plan};
use crate::HarnessError;

/// How to start such a client.
#[derive(Clone, Debug)]
pub struct ForeignClient {
    /// The interpreter, with what the script needs installed.
    pub interpreter: PathBuf,
    /// The script.
    pub script: PathBuf,
}

/// One under way. Killed with its owner.
pub(super) struct Foreign {
    process: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What it tells at its end.
#[derive(Deserialize)]
struct Report {
    calls: u64,
    failed: u64,
    /// Failures by number of status.
    codes: BTreeMap<i32, u64>,
    /// Answers by name of server.
    latencies_us: Vec<u64>,
}

/// Longest wait for a word from it; beyond any call's own timeout.
const PATIENCE: Duration = Duration::from_secs(30);

impl ForeignClient {
    /// Starts it and waits until it is connected.
    pub(super) async fn start(
        &self,
        servers: &[SocketAddr],
        config: &str,
        plan: Plan,
    ) -> Result<Foreign, HarnessError> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.script);
        command.args(["--servers", &servers.join(","), "--method", plan.method]);
        command.args(["--config", config, "--callers", &plan.callers.to_string()]);
        command.args(["--work-ms", &plan.work_ms.to_string()]);
        command.args(["--timeout-s", &plan.timeout.as_secs_f64().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(HarnessError::io("start the foreign client"))?;
        let stdout = process.stdout.take().expect("its standard output is a pipe");
        let mut foreign = Foreign { process, answers: BufReader::new(stdout).lines() };
        foreign.answer("ready").await?;
        Ok(foreign)
    }
}

impl Foreign {
    async fn answer(&mut self, what: &str) -> Result<String, HarnessError> {
        let silent = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line = line.and_then(|line| line.ok_or_else(silent));
        line.map_err(HarnessError::io(format!("hear {what:?} from the foreign client")))
    }

    /// Lets its calls end and takes its word for them.
    pub(super) async fn finish(mut self) -> Result<Outcome, HarnessError> {
        drop(self.process.stdin.take());
        let line = self.answer("its report").await?;
        let report: Report = serde_json::from_str(&line).map_err(|error| HarnessError::Failed {
            what: "reading the foreign client's report".to_owned(),
            output: error.to_string(),
        })?;
        let mut outcome = Outcome::new();
        (outcome.calls, outcome.failed) = (report.calls, report.failed);
        outcome.codes = report.codes;
        for latency_us in report.latencies_us {
            outcome.latency_us.saturating_record(latency_us);
        }
        Ok(outcome)
    }
}
