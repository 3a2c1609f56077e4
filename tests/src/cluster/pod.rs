//! One process of a service, and what happens to pods: ready, terminated, killed, restarted.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{Binaries, PodSetup, http, metrics};
use crate::HarnessError;
use crate::ports::free_port;
use crate::process::{Process, User};

/// From start to ready, and from SIGTERM to the end; the flags below promise much less.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// Pods of the harness leave quickly, unless their plan says otherwise.
const LEAVE_QUICKLY: [&str; 4] = ["--lame-duck", "100ms", "--drain-timeout", "10s"];

/// Which service a pod belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Balances and reservations.
    Account,
    /// Orders, payments, catalogue.
    Order,
}

impl Service {
    /// The name of package and program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account-service",
            Self::Order => "order-service",
        }
    }
}

/// A pod, running or not.
#[derive(Debug)]
pub struct Pod {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    clock: Option<String>,
    open_files: Option<u32>,
    process: Process,
}

impl Pod {
    pub(crate) fn start(
        setup: PodSetup<'_>,
        binaries: &Binaries,
        directory: &Path,
    ) -> Result<Self, HarnessError> {
        let name = format!("{}-{}", setup.service.name(), setup.number);
        let on_loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (address, admin) = (on_loopback(free_port()?), on_loopback(free_port()?));
        let arguments = arguments(setup, address, admin);
        let (program, log) =
            (binaries.program(setup.service), directory.join(format!("{name}.log")));
        let process = Process::start(&name, User::Ours, &program, &arguments, &log)?;
        let (clock, open_files) = (None, None);
        Ok(Self { name, program, arguments, address, admin, log, clock, open_files, process })
    }

    /// `account-service-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it serves gRPC; the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves the admin HTTP.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process, as long as it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Status and body of an admin page; `None` while nobody answers.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        http::get(self.admin, path).await.ok()
    }

    /// The sum of a counter over the series that have all of these labels; 0 when there are none, or nobody answers.
    pub async fn counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let page = self.get("/q/metrics").await.map(|(_, page)| page).unwrap_or_default();
        metrics::sum(&page, name, labels)
    }

    /// Waits for `/q/health/ready`.
    ///
    /// # Errors
    /// When the pod ends first, or is not ready in time.
    pub async fn wait_ready(&mut self) -> Result<(), HarnessError> {
        self.wait_health(200).await
    }

    /// Waits until `/q/health/ready` answers this status: 200 or 503.
    ///
    /// # Errors
    /// When the pod ends first, or does not answer so in time.
    pub async fn wait_health(&mut self, status: u16) -> Result<(), HarnessError> {
        let began = Instant::now();
        while self.get("/q/health/ready").await.is_none_or(|(told, _)| told != status) {
            if self.process.ended()?.is_some() {
                let output = self.process.log_tail();
                return Err(HarnessError::Failed { what: self.name.clone(), output });
            }
            if began.elapsed() > PATIENCE {
                let what = format!("{} to answer {status} for its readiness", self.name);
                return Err(HarnessError::Late { what, log: self.log.clone() });
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Waits until its readiness says this.
    ///
    /// # Errors
    /// When the pod does not say it in time.
    pub async fn wait_health_says(&mut self, words: &str) -> Result<String, HarnessError> {
        let began = Instant::now();
        loop {
            let said = self.get("/q/health/ready").await.map(|(_, body)| body).unwrap_or_default();
            if said.contains(words) {
                return Ok(said);
            }
            if began.elapsed() > PATIENCE {
                let what = format!("{} to say {words:?} for its readiness: {said}", self.name);
                return Err(HarnessError::Late { what, log: self.log.clone() });
            }
            sleep(GLANCE).await;
        }
    }

    /// From its next start on it uses another database.
    pub fn set_database(&mut self, url: &str) {
        let flag = self.arguments.iter().position(|flag| flag == "--database-url");
        let value = flag.expect("every pod has a database") + 1;
        url.clone_into(&mut self.arguments[value]);
    }

    /// SIGTERM: leave in order.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits for the end after [`Pod::terminate`].
    ///
    /// # Errors
    /// When it does not come in time, or the exit code says that calls were cut off.
    pub fn wait_gone(&mut self) -> Result<(), HarnessError> {
        let status = self.wait_exit()?;
        if status.success() {
            return Ok(());
        }
        let output = format!("{status}\n{}", self.process.log_tail());
        Err(HarnessError::Failed { what: format!("{}: leaving", self.name), output })
    }

    /// Waits for the end, and answers how it ended.
    ///
    /// # Errors
    /// When it does not come in time.
    pub fn wait_exit(&mut self) -> Result<ExitStatus, HarnessError> {
        self.process.wait(PATIENCE)
    }

    /// SIGKILL: gone between two instructions.
    ///
    /// # Errors
    /// When the system cannot end it.
    pub fn kill(&mut self) -> Result<(), HarnessError> {
        self.process.signal(Signal::KILL);
        self.process.wait(PATIENCE).map(drop)
    }

    /// SIGSTOP: alive to the system, silent to everybody.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Whether it is stopped by SIGSTOP, and whoever sent that.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        // The state follows the name, which is in parentheses and may contain any character.
        let state = status.ok().and_then(|line| Some(line.rsplit_once(") ")?.1.starts_with('T')));
        state.unwrap_or_default()
    }

    /// Starts it again, same addresses and flags, after its end. Does not wait for readiness.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.restart_with(&[])
    }

    /// As [`Pod::restart`], this once with further flags.
    ///
    /// # Errors
    /// As [`Pod::restart`].
    pub fn restart_with(&mut self, flags: &[String]) -> Result<(), HarnessError> {
        let environment = self.clock.as_deref().map(faked_clock).transpose()?;
        // `prlimit` and `env` become the program: the process stays the same.
        let mut command: Vec<OsString> = Vec::new();
        if let Some(most) = self.open_files {
            command.push("/usr/bin/prlimit".into());
            command.push(format!("--nofile={most}:{most}").into());
        }
        if let Some(variables) = environment {
            command.push("/usr/bin/env".into());
            command.extend(variables);
        }
        command.push(self.program.clone().into());
        command.extend(self.arguments.iter().chain(flags).map(OsString::from));
        let (program, arguments) = command.split_first().expect("there is the program at least");
        let program = Path::new(program);
        self.process = Process::start(&self.name, User::Ours, program, arguments, &self.log)?;
        Ok(())
    }

    /// From its next start on its clock is off by so much, in the words of libfaketime: `+36h`. Its timers keep time.
    pub fn set_clock(&mut self, offset: Option<&str>) {
        self.clock = offset.map(ToOwned::to_owned);
    }

    /// From its next start on it may have so many files open, and cannot change that.
    pub fn set_open_files(&mut self, most: u32) {
        self.open_files = Some(most);
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool, HarnessError> {
        Ok(self.process.ended()?.is_none())
    }
}

/// What a program must be started with for its clock to be off.
fn faked_clock(offset: &str) -> Result<[OsString; 3], HarnessError> {
    let multiarch = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries =
        multiarch.map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|library| library.exists()).ok_or(HarnessError::Missing {
        program: "libfaketime",
        hint: "apt-get install libfaketime",
    })?;
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(library);
    let offset = format!("FAKETIME={offset}");
    Ok([preload, offset.into(), "FAKETIME_DONT_FAKE_MONOTONIC=1".into()])
}

fn arguments(setup: PodSetup<'_>, address: SocketAddr, admin: SocketAddr) -> Vec<String> {
    let flag = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let given = |name: &str| setup.flags.iter().any(|flag| flag == name);
    let mut arguments = Vec::new();
    arguments.extend(flag("--listen", &address.to_string()));
    arguments.extend(flag("--admin-listen", &admin.to_string()));
    match setup.service {
        Service::Account => {
            arguments.extend(flag("--database-url", &setup.databases.account));
        }
        Service::Order => {
            arguments.extend(flag("--database-url", &setup.databases.order));
            if !given("--account-target") {
                arguments.extend(flag("--account-target", setup.account_target));
            }
        }
    }
    for pair in LEAVE_QUICKLY.chunks_exact(2) {
        if !given(pair[0]) {
            arguments.extend(pair.iter().map(ToString::to_string));
        }
    }
    arguments.extend(setup.flags.iter().cloned());
    arguments
}
