//! One state for all who ask whether this server wants calls.
//!
//! Readiness (admin HTTP), `grpc.health.v1` Check, List and Watch, of "" and of every service, read
//! the same value, so they cannot disagree. It turns true when the checks first pass, false when
//! they have failed for a grace, true again when they pass, and false for good when the drain
//! begins. Liveness does not depend on it: restarting a server does not bring its database back.

mod list;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

pub(crate) use list::{LIST, WithList, descriptors};

/// A named readiness check. What it answers as error is told on `/q/health/ready`.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn() -> Answer + Send + Sync>,
}

/// What a check resolves to.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Whether calls are wanted, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The checks have not passed yet.
    Starting,
    /// Send calls.
    Ready,
    /// The checks have failed for longer than the grace.
    Failing,
    /// Leaving, but still serving: call somebody else.
    LameDuck,
    /// Leaving, and no longer accepting; watchers are sent away too.
    Closing,
}

impl Readiness {
    fn serving_status(self) -> ServingStatus {
        match self {
            Self::Ready => ServingStatus::Serving,
            Self::Starting | Self::Failing | Self::LameDuck | Self::Closing => {
                ServingStatus::NotServing
            }
        }
    }

    fn is_leaving(self) -> bool {
        match self {
            Self::LameDuck | Self::Closing => true,
            Self::Starting | Self::Ready | Self::Failing => false,
        }
    }
}

/// The state and the last answers of the checks.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) readiness: Readiness,
    /// Whether the server has ever been ready.
    pub(crate) started: bool,
    pub(crate) checks: Vec<(&'static str, Result<(), String>)>,
}

/// Owner of the state.
#[derive(Debug)]
pub(crate) struct Health {
    state: watch::Sender<Snapshot>,
}

impl Health {
    pub(crate) fn new() -> Arc<Self> {
        let starting =
            Snapshot { readiness: Readiness::Starting, started: false, checks: Vec::new() };
        Arc::new(Self { state: watch::Sender::new(starting) })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.state.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.state.subscribe()
    }

    /// Turns readiness false for good.
    pub(crate) fn leave(&self, readiness: Readiness) {
        debug_assert!(readiness.is_leaving());
        self.state.send_modify(|state| state.readiness = readiness);
    }

    /// Runs the checks until the server leaves.
    pub(crate) async fn keep_checking(
        &self,
        checks: Vec<Check>,
        period: Duration,
        grace: Duration,
    ) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_passed = Instant::now();
        loop {
            ticks.tick().await;
            let answers = join_all(checks.iter().map(|check| ask(check, period))).await;
            if answers.iter().all(|(_, answer)| answer.is_ok()) {
                last_passed = Instant::now();
            }
            if !self.record(answers, last_passed.elapsed(), grace) {
                return;
            }
        }
    }

    /// Answers false when the server is leaving and the checks no longer matter.
    fn record(
        &self,
        checks: Vec<(&'static str, Result<(), String>)>,
        failing_for: Duration,
        grace: Duration,
    ) -> bool {
        let mut goes_on = true;
        self.state.send_if_modified(|state| {
            goes_on = !state.readiness.is_leaving();
            let before = state.readiness;
            state.readiness = next(before, checks.iter().all(|(_, answer)| answer.is_ok()), || {
                failing_for >= grace
            });
            state.started |= state.readiness == Readiness::Ready;
            state.checks = checks;
            if state.readiness != before {
                tracing::info!(?before, now = ?state.readiness, checks = ?state.checks, "readiness changed");
            }
            state.readiness != before
        });
        goes_on
    }
}

fn next(now: Readiness, passed: bool, grace_is_over: impl FnOnce() -> bool) -> Readiness {
    match (now, passed) {
        (Readiness::LameDuck | Readiness::Closing, _) => now,
        (Readiness::Starting | Readiness::Failing | Readiness::Ready, true) => Readiness::Ready,
        (Readiness::Ready, false) if grace_is_over() => Readiness::Failing,
        (Readiness::Starting | Readiness::Failing | Readiness::Ready, false) => now,
    }
}

async fn ask(check: &Check, limit: Duration) -> (&'static str, Result<(), String>) {
    let answer = timeout(limit, (check.run)()).await;
    let late = || Err(format!("no answer within {}", humantime::format_duration(limit)));
    (check.name, answer.unwrap_or_else(|_elapsed| late()))
}

/// `grpc.health.v1.Health` over the one state.
#[derive(Debug)]
pub(crate) struct GrpcHealth {
    pub(crate) health: Arc<Health>,
    /// The names that may be asked for, besides "".
    pub(crate) services: Vec<&'static str>,
}

impl GrpcHealth {
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

#[tonic::async_trait]
impl health_server::Health for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(self.health.snapshot().readiness.serving_status())))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// Tells the state and each change of it. Ends when the listener closes, so that a watcher
    /// never holds the exit. An unknown service is SERVICE_UNKNOWN, as the protocol asks.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let watcher = (self.health.subscribe(), None);
        let told = stream::unfold(watcher, move |(mut state, told)| async move {
            let status = next_to_tell(&mut state, told, known).await?;
            Some((Ok(response(status)), (state, Some(status))))
        });
        Ok(Response::new(told.boxed()))
    }
}

/// Waits until there is something else to tell than what was told; `None` ends the stream.
async fn next_to_tell(
    state: &mut watch::Receiver<Snapshot>,
    told: Option<ServingStatus>,
    known: bool,
) -> Option<ServingStatus> {
    let of = |readiness: Readiness| match known {
        true => readiness.serving_status(),
        false => ServingStatus::ServiceUnknown,
    };
    let news =
        |now: &Snapshot| now.readiness == Readiness::Closing || told != Some(of(now.readiness));
    let readiness = state.wait_for(news).await.ok()?.readiness;
    (told != Some(of(readiness))).then(|| of(readiness))
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_turns_false_only_after_the_grace_and_true_at_once() {
        assert_eq!(next(Readiness::Starting, false, || true), Readiness::Starting);
        assert_eq!(next(Readiness::Starting, true, || true), Readiness::Ready);
        assert_eq!(next(Readiness::Ready, false, || false), Readiness::Ready);
        assert_eq!(next(Readiness::Ready, false, || true), Readiness::Failing);
        assert_eq!(next(Readiness::Failing, true, || true), Readiness::Ready);
    }

    #[test]
    fn nothing_turns_a_leaving_server_ready() {
        assert_eq!(next(Readiness::LameDuck, true, || false), Readiness::LameDuck);
        assert_eq!(next(Readiness::Closing, true, || false), Readiness::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_never_answers_counts_as_failed() {
        let check = Check { name: "database", run: Box::new(|| Box::pin(std::future::pending())) };
        let answer = ask(&check, Duration::from_secs(1)).await;
        assert_eq!(answer, ("database", Err("no answer within 1s".to_owned())));
    }

    #[tokio::test]
    async fn a_watcher_is_told_each_change_and_sent_away_at_the_close() {
        let health = Health::new();
        let grpc = GrpcHealth { health: health.clone(), services: vec!["order"] };
        let request = Request::new(HealthCheckRequest { service: "order".to_owned() });
        let mut told = health_server::Health::watch(&grpc, request).await.unwrap().into_inner();
        let mut status = async || told.next().await.map(|status| status.unwrap().status());
        assert_eq!(status().await, Some(ServingStatus::NotServing));
        health.record(Vec::new(), Duration::ZERO, Duration::ZERO);
        assert_eq!(status().await, Some(ServingStatus::Serving));
        health.leave(Readiness::LameDuck);
        assert_eq!(status().await, Some(ServingStatus::NotServing));
        health.leave(Readiness::Closing);
        assert_eq!(status().await, None);
    }

    #[tokio::test]
    async fn watching_an_unknown_service_tells_so_and_checking_it_is_not_found() {
        let grpc = GrpcHealth { health: Health::new(), services: vec![] };
        let request = || Request::new(HealthCheckRequest { service: "nobody".to_owned() });
        let mut told = health_server::Health::watch(&grpc, request()).await.unwrap().into_inner();
        let first = told.next().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::ServiceUnknown);
        let refused = health_server::Health::check(&grpc, request()).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
    }
}
