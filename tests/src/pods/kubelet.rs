//! The life of one pod: init container, container, probes, restarts, and the way out.
//!
//! A deletion takes the pod out of its Service's slice and runs preStop at the same time; then
//! SIGTERM; then, when the grace period that began with the deletion is over, SIGKILL. A container
//! that dies is noticed after [`NOTICE`] and started again in the same pod, under the same address,
//! at once the first time, then after 10 s, 20 s, … up to five minutes.
//!
//! A pod is one task and at most one process at a time. Dropping the task kills the process.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::endpoints::Slice;
use super::manifest::Manifest;
use super::probe::{Probe, Tally};
use crate::HarnessError;
use crate::cluster::http;
use crate::process::{Process, User};

/// From a container's death to the kubelet's knowing: it lists containers every second.
const NOTICE: Duration = Duration::from_secs(1);
/// Restarts of one pod wait so long, doubling each time; the first does not wait.
const BACKOFF: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Interval of looking whether a process has ended.
const GLANCE: Duration = Duration::from_millis(20);

/// What all pods of one version are made of.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) program: PathBuf,
    /// Arguments of the init container.
    pub(crate) migrate: Vec<String>,
    /// Arguments of the container, but for its addresses.
    pub(crate) serve: Vec<String>,
    pub(crate) manifest: Manifest,
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) log: PathBuf,
}

/// What somebody wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Leave in order.
    Delete,
    /// SIGKILL to the container.
    Kill,
}

/// How a pod stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Condition {
    pub(crate) ready_since: Option<Instant>,
    pub(crate) restarts: u32,
    pub(crate) gone: bool,
}

/// The end of a container.
#[derive(Clone, Debug)]
pub struct Departure {
    /// The pod's name.
    pub pod: String,
    /// Why it ended.
    pub cause: Cause,
    /// The exit code; `None` after a signal.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// From the deletion or the kill to the end; zero where it ended by itself.
    pub took: Duration,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its pod was deleted, by hand or by its Deployment.
    Deleted,
    /// SIGKILL.
    Killed,
    /// Nobody asked for it.
    Crashed,
    /// Its liveness or startup probe failed.
    Unhealthy,
}

/// The ends of all containers of a namespace, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departures(Arc<Mutex<Vec<Departure>>>);

impl Departures {
    fn add(&self, departure: Departure) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(departure);
    }

    pub(crate) fn all(&self) -> Vec<Departure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a kubelet needs besides the pod.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) slice: Slice,
    pub(crate) condition: watch::Sender<Condition>,
    pub(crate) departures: Departures,
}

/// Looks after one pod.
#[derive(Debug)]
pub(crate) struct Kubelet {
    pod: Identity,
    template: Arc<Template>,
    around: Surroundings,
    orders: mpsc::Receiver<Order>,
    /// Kept, because the order may come while the container is on its way out for another reason.
    deleted: bool,
}

/// Why a container is not running on.
enum Stop {
    Ended(ExitStatus),
    Ordered(Order),
    Unhealthy,
}

impl Kubelet {
    pub(crate) fn new(
        pod: Identity,
        template: Arc<Template>,
        around: Surroundings,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self { pod, template, around, orders, deleted: false }
    }

    /// From the pod's start to its end.
    pub(crate) async fn live(mut self) {
        let mut restarts = 0;
        loop {
            match self.container().await {
                Ok(()) => {}
                Err(why) => eprintln!("{}: {why}", self.pod.name),
            }
            if self.deleted || self.deleted_within(backoff(restarts)).await {
                break;
            }
            restarts += 1;
            self.around.condition.send_modify(|pod| pod.restarts = restarts);
        }
        self.set_ready(false);
        self.around.condition.send_modify(|pod| pod.gone = true);
    }

    /// Runs the containers once, to their end.
    async fn container(&mut self) -> Result<(), HarnessError> {
        self.init().await?;
        let mut process = self.start(self.serving())?;
        let stop = tokio::select! {
            status = ended(&mut process) => Stop::Ended(status?),
            order = self.orders.recv() => Stop::Ordered(order.unwrap_or(Order::Delete)),
            () = probed(&self.pod, &self.template.manifest, &self.around) => Stop::Unhealthy,
        };
        match stop {
            Stop::Ordered(Order::Delete) => {
                self.deleted = true;
                self.leave(&mut process, Cause::Deleted).await?;
            }
            Stop::Unhealthy => self.leave(&mut process, Cause::Unhealthy).await?,
            Stop::Ordered(Order::Kill) => {
                let (began, status) = (Instant::now(), killed(&mut process).await?);
                self.note(Cause::Killed, status, began.elapsed());
                self.noticed().await;
            }
            Stop::Ended(status) => {
                self.note(Cause::Crashed, status, Duration::ZERO);
                self.noticed().await;
            }
        }
        Ok(())
    }

    /// The init container: the schema is brought up to date.
    async fn init(&self) -> Result<(), HarnessError> {
        let mut migrate = self.start(self.template.migrate.clone())?;
        let status = ended(&mut migrate).await?;
        if status.success() {
            return Ok(());
        }
        let what = format!("{}: migrate", self.pod.name);
        Err(HarnessError::Failed { what, output: migrate.log_tail() })
    }

    fn start(&self, arguments: Vec<String>) -> Result<Process, HarnessError> {
        let (name, log) = (&self.pod.name, &self.pod.log);
        Process::start(name, User::Ours, &self.template.program, arguments, log)
    }

    fn serving(&self) -> Vec<String> {
        let mut arguments = self.template.serve.clone();
        arguments.extend(["--listen".to_owned(), self.pod.grpc.to_string()]);
        arguments.extend(["--admin-listen".to_owned(), self.pod.admin.to_string()]);
        arguments
    }

    /// Out of the slice and through preStop, SIGTERM and, if it must be, SIGKILL.
    async fn leave(&mut self, process: &mut Process, cause: Cause) -> Result<(), HarnessError> {
        let deleted = Instant::now();
        self.set_ready(false);
        let template = self.template.clone();
        let Manifest { pre_stop, grace, .. } = &template.manifest;
        let mut status = self.ended_before(deleted + *pre_stop, process).await?;
        if status.is_none() {
            process.signal(Signal::TERM);
            status = self.ended_before(deleted + *grace, process).await?;
        }
        let status = match status {
            Some(status) => status,
            None => killed(process).await?,
        };
        self.note(cause, status, deleted.elapsed());
        Ok(())
    }

    /// The exit status if the container ends by then; an order to kill it is followed.
    async fn ended_before(
        &mut self,
        at: Instant,
        process: &mut Process,
    ) -> Result<Option<ExitStatus>, HarnessError> {
        loop {
            let order = tokio::select! {
                ended = timeout_at(at, ended(process)) => return ended.ok().transpose(),
                Some(order) = self.orders.recv() => order,
            };
            match order {
                Order::Kill => return killed(process).await.map(Some),
                Order::Delete => self.deleted = true,
            }
        }
    }

    /// The kubelet learns of a death, and with it the Service.
    async fn noticed(&self) {
        sleep(NOTICE).await;
        self.set_ready(false);
    }

    /// Whether the pod is deleted before so much time is over.
    async fn deleted_within(&mut self, time: Duration) -> bool {
        let deleted = async {
            loop {
                match self.orders.recv().await {
                    Some(Order::Kill) => {}
                    Some(Order::Delete) | None => return,
                }
            }
        };
        timeout(time, deleted).await.is_ok()
    }

    fn set_ready(&self, ready: bool) {
        set_ready(&self.pod, &self.around, ready);
    }

    fn note(&self, cause: Cause, status: ExitStatus, took: Duration) {
        let pod = self.pod.name.clone();
        let (exit_code, signal) = (status.code(), status.signal());
        self.around.departures.add(Departure { pod, cause, exit_code, signal, took });
    }
}

/// Asks the probes of a running container; returns when it has to be restarted.
async fn probed(pod: &Identity, manifest: &Manifest, around: &Surroundings) {
    let started = Instant::now();
    if !verdicts(pod, &manifest.startup, started, |_| true).await {
        return;
    }
    let readiness = verdicts(pod, &manifest.readiness, started, |ready| {
        set_ready(pod, around, ready);
        false
    });
    let liveness = verdicts(pod, &manifest.liveness, started, |alive| !alive);
    tokio::select! {
        _never = readiness => {}
        _dead = liveness => {}
    }
}

/// Asks until a verdict is the last one, and answers that.
async fn verdicts(
    pod: &Identity,
    probe: &Probe,
    started: Instant,
    mut is_last: impl FnMut(bool) -> bool,
) -> bool {
    let mut tally = Tally::new(probe);
    let mut rounds = tokio::time::interval_at(started + probe.initial_delay, probe.period);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let asked = timeout(probe.timeout, http::get(pod.admin, &probe.path)).await;
        let good = matches!(asked, Ok(Ok((status, _))) if (200..400).contains(&status));
        if let Some(verdict) = tally.hear(good)
            && is_last(verdict)
        {
            return verdict;
        }
    }
}

fn set_ready(pod: &Identity, around: &Surroundings, ready: bool) {
    let SocketAddr::V4(grpc) = pod.grpc else { unreachable!("pods have IPv4 addresses") };
    around.slice.set(*grpc.ip(), ready);
    around.condition.send_modify(|pod| pod.ready_since = ready.then(Instant::now));
}

async fn ended(process: &mut Process) -> Result<ExitStatus, HarnessError> {
    loop {
        if let Some(status) = process.ended()? {
            return Ok(status);
        }
        sleep(GLANCE).await;
    }
}

async fn killed(process: &mut Process) -> Result<ExitStatus, HarnessError> {
    process.signal(Signal::KILL);
    ended(process).await
}

fn backoff(restarts: u32) -> Duration {
    match restarts.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => BACKOFF.saturating_mul(1 << doublings.min(16)).min(BACKOFF_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_twice_as_long_up_to_five_minutes() {
        let waits: Vec<u64> = (0..8).map(|restarts| backoff(restarts).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
