//! The admin HTTP: health for the kubelet, metrics for Prometheus.
//!
//! Health answers are MicroProfile Health JSON, `{"status":"UP","checks":[…]}`, with 200 or 503.
//! Served apart from gRPC and until the very end of the drain.
//!
//! Promised: nobody who reaches this port keeps a probe from its answer. A connection has one request and [`PATIENCE`]
//! to send it and to read the answer, so that nothing can be pipelined and nothing unread is kept. Of
//! [`CONNECTIONS_MAX`] connections the oldest makes room for one more: a probe is answered before it is old. Metrics,
//! the one answer that may have to wait for its reader, have [`SCRAPES_MAX`] places of their own.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::auth::Gate;
use crate::health::{Health, Readiness, Snapshot};
use crate::metrics;
use crate::trail::Trail;

const METRICS_PATH: &str = "/q/metrics";
const CONNECTIONS_MAX: usize = 64;
const SCRAPES_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How often histograms fold their new samples in, which bounds what they hold in between.
const UPKEEP: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, for lack of descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What people should know who ask for readiness; the pod stays ready (see [`crate::trail`]).
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) trail: Option<Arc<Trail>>,
    pub(crate) gate: Option<Arc<Gate>>,
    /// What the configuration lets happen.
    pub(crate) warnings: Vec<String>,
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, notes: Arc<Notes>) {
    let scrapes = Arc::new(Semaphore::new(SCRAPES_MAX));
    let mut open = Open::default();
    let mut upkeep = interval(UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    open.make_room();
                    let conversation =
                        converse(stream, health.clone(), notes.clone(), scrapes.clone());
                    open.tasks.push_back(tokio::spawn(conversation).abort_handle());
                }
                Err(why) => {
                    tracing::warn!(%why, "admin connection refused by the system");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            _ = upkeep.tick() => if let Some(recorder) = metrics::recorder() {
                recorder.run_upkeep();
            },
        }
    }
}

/// The connections, oldest first. Dropped, it closes them.
#[derive(Default)]
struct Open {
    tasks: VecDeque<AbortHandle>,
}

impl Open {
    fn make_room(&mut self) {
        if self.tasks.len() < CONNECTIONS_MAX {
            return;
        }
        self.tasks.retain(|task| !task.is_finished());
        if self.tasks.len() < CONNECTIONS_MAX {
            return;
        }
        if let Some(oldest) = self.tasks.pop_front() {
            metrics::refused("admin_connections");
            oldest.abort();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn converse(
    stream: TcpStream,
    health: Arc<Health>,
    notes: Arc<Notes>,
    scrapes: Arc<Semaphore>,
) {
    // Kept until the answer is written.
    let place = OnceLock::<OwnedSemaphorePermit>::new();
    let answers = service_fn(|request: Request<Incoming>| {
        let path = request.uri().path();
        let response = match (path == METRICS_PATH).then(|| scrapes.clone().try_acquire_owned()) {
            Some(Err(_full)) => too_many_scrapes(),
            Some(Ok(permit)) => {
                let _first_request_is_the_only_one = place.set(permit);
                answer(request.method(), path, &health, &notes)
            }
            None => answer(request.method(), path, &health, &notes),
        };
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answers);
    match timeout(PATIENCE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => tracing::debug!(%why, "admin connection broke"),
        Err(_elapsed) => metrics::refused("admin_time"),
    }
}

fn too_many_scrapes() -> Response<Full<Bytes>> {
    metrics::refused("scrapes");
    text(StatusCode::SERVICE_UNAVAILABLE, "too many scrapes at once\n".to_owned())
}

fn answer(method: &Method, path: &str, health: &Health, notes: &Notes) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let state = health.snapshot();
    match path {
        "/q/health" => all(&state, notes),
        "/q/health/live" => health_json(true, Vec::new()),
        "/q/health/ready" => {
            let checks = checks_of(&state).into_iter().chain(notes.all());
            health_json(state.readiness == Readiness::Ready, checks.collect())
        }
        "/q/health/started" => health_json(state.started, checks_of(&state)),
        METRICS_PATH => metrics_text(),
        _ => text(
            StatusCode::NOT_FOUND,
            "see /q/health, /q/health/live, ready, started and /q/metrics\n".to_owned(),
        ),
    }
}

/// Live, ready and started in one, as MicroProfile Health has it: UP only if each is.
fn all(state: &Snapshot, notes: &Notes) -> Response<Full<Bytes>> {
    let is_ready = state.readiness == Readiness::Ready;
    let probes = [("live", true), ("ready", is_ready), ("started", state.started)];
    let probes = probes.map(|(name, up)| CheckAnswer { name, status: up_or_down(up), data: None });
    let checks = probes.into_iter().chain(checks_of(state)).chain(notes.all());
    health_json(is_ready && state.started, checks.collect())
}

#[derive(Serialize)]
struct HealthAnswer {
    status: &'static str,
    checks: Vec<CheckAnswer>,
}

#[derive(Serialize)]
struct CheckAnswer {
    name: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Why>,
}

#[derive(Serialize)]
struct Why {
    why: String,
}

fn checks_of(state: &Snapshot) -> Vec<CheckAnswer> {
    let wanted = match state.readiness {
        Readiness::Ready => Ok(()),
        Readiness::Starting => Err("starting".to_owned()),
        Readiness::Failing => Err("checks fail".to_owned()),
        Readiness::LameDuck | Readiness::Closing => Err("leaving".to_owned()),
    };
    std::iter::once(("serving", wanted))
        .chain(state.checks.iter().cloned())
        .map(|(name, answer)| CheckAnswer {
            name,
            status: up_or_down(answer.is_ok()),
            data: answer.err().map(|why| Why { why }),
        })
        .collect()
}

impl Notes {
    fn all(&self) -> impl Iterator<Item = CheckAnswer> {
        let audit = self.trail.iter().filter_map(|trail| Some(("audit", trail.trouble()?)));
        let callers = self.gate.iter().flat_map(|gate| gate.troubles());
        let callers = callers.map(|why| ("callers", why));
        let warnings = self.warnings.iter().cloned().map(|why| ("exposure", why));
        audit.chain(callers).chain(warnings).map(|(name, why)| CheckAnswer {
            name,
            status: up_or_down(true),
            data: Some(Why { why }),
        })
    }
}

fn health_json(up: bool, checks: Vec<CheckAnswer>) -> Response<Full<Bytes>> {
    let answer = HealthAnswer { status: up_or_down(up), checks };
    let json = serde_json::to_vec(&answer).expect("strings serialise");
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, "application/json", json.into())
}

fn up_or_down(up: bool) -> &'static str {
    if up { "UP" } else { "DOWN" }
}

fn metrics_text() -> Response<Full<Bytes>> {
    match metrics::recorder() {
        Some(recorder) => {
            response(StatusCode::OK, "text/plain; version=0.0.4", recorder.render().into())
        }
        None => text(StatusCode::NOT_FOUND, "another recorder exports the metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
