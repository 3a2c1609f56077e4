//! Child processes that neither outlive the harness nor take its terminal.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::HarnessError;

/// Interval of looking whether a process has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// A running program. Dropped, it is killed and waited for.
///
/// It is in a process group of its own, so that Ctrl-C reaches the harness alone, and it is
/// ended by the system when the *thread* that started it ends without having dropped it: start
/// it on a thread that lives as long as it should.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Which user a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Ours,
    /// PostgreSQL refuses to run as root.
    Postgres,
}

impl User {
    /// The signal the system sends when the harness dies. PostgreSQL ends its children on this one.
    fn farewell(self) -> &'static str {
        match self {
            Self::Ours => "KILL",
            Self::Postgres => "QUIT",
        }
    }
}

impl Process {
    /// Starts a program; what it prints is appended to `log`.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &str,
        user: User,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        log: &Path,
    ) -> Result<Self, HarnessError> {
        let log_file = File::options().create(true).append(true).open(log);
        let log_file = log_file.map_err(HarnessError::io(format!("write {}", log.display())))?;
        let errors = log_file.try_clone().map_err(HarnessError::io("share the log"))?;
        let mut command = command_as(user, &["--pdeathsig", user.farewell()]);
        command.arg(program).args(arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(log_file).stderr(errors);
        let child = command.spawn().map_err(HarnessError::io(format!("start {name}")))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. A process that has ended is left alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a child has a positive process id");
        // The only failure for a child not waited for yet is that it has ended.
        let _sent_or_ended = kill_process(pid, signal);
    }

    /// Waits for the end, which is an error when it does not come within the bound.
    pub(crate) fn wait(&mut self, bound: Duration) -> Result<ExitStatus, HarnessError> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > bound {
                let what = format!("{} to end", self.name);
                return Err(HarnessError::Late { what, log: self.log.clone() });
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, HarnessError> {
        self.child.try_wait().map_err(HarnessError::io(format!("look after {}", self.name)))
    }

    /// The end of what it printed.
    pub(crate) fn log_tail(&self) -> String {
        tail_of(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // After SIGKILL the wait is short, and there is nobody to tell an error to.
        let _reaped = self.child.wait();
    }
}

/// Runs a program to its end and answers what it printed.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<String, HarnessError> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(HarnessError::io(format!("run {what}")))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let output = tail_of(&(printed + &String::from_utf8_lossy(&output.stderr)));
    Err(HarnessError::Failed { what: what.to_owned(), output })
}

/// A command prefix that changes the user if need be.
pub(crate) fn command_as(user: User, options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if user == User::Postgres && rustix::process::getuid().is_root() {
        command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]);
    }
    command.args(options).arg("--");
    command
}

fn tail_of(text: &str) -> String {
    const LINES: usize = 20;
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
