//! The admin HTTP: health for the kubelet, metrics for Prometheus.
//!
//! Health answers are MicroProfile Health JSON, `{"status":"UP","checks":[…]}`, with 200 or 503.
//! Served apart from gRPC and until the very end of the drain, on at most [`CONNECTIONS_MAX`]
//! connections at a time, each with [`PATIENCE`] to send its request.

use std::convert::Infallible;
use std::sync::Arc;
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
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::health::{Health, Readiness, Snapshot};
use crate::metrics;
use crate::trail::Trail;

const CONNECTIONS_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);
/// How often histograms fold their new samples in, which bounds what they hold in between.
const UPKEEP: Duration = Duration::from_secs(5);
/// Pause after the system refused a connection, for lack of descriptors usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, health: Arc<Health>, trail: Option<Arc<Trail>>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut upkeep = interval(UPKEEP);
    upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let slot = slots.clone().acquire_owned();
        let accepted = async {
            let slot = slot.await.expect("the semaphore is never closed");
            (slot, listener.accept().await)
        };
        tokio::select! {
            (slot, accepted) = accepted => match accepted {
                Ok((stream, _peer)) => {
                    let (health, trail) = (health.clone(), trail.clone());
                    tokio::spawn(async move {
                        converse(stream, health, trail).await;
                        drop(slot);
                    });
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

async fn converse(stream: TcpStream, health: Arc<Health>, trail: Option<Arc<Trail>>) {
    let answers = service_fn(move |request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &health, trail.as_deref());
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answers)
        .await;
    if let Err(why) = served {
        tracing::debug!(%why, "admin connection broke");
    }
}

fn answer(
    method: &Method,
    path: &str,
    health: &Health,
    trail: Option<&Trail>,
) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
    }
    let state = health.snapshot();
    match path {
        "/q/health/live" => health_json(true, Vec::new()),
        "/q/health/ready" => {
            let checks = checks_of(&state).into_iter().chain(trail.and_then(note_of));
            health_json(state.readiness == Readiness::Ready, checks.collect())
        }
        "/q/health/started" => health_json(state.started, checks_of(&state)),
        "/q/metrics" => metrics_text(),
        _ => text(
            StatusCode::NOT_FOUND,
            "see /q/health/live, ready, started and /q/metrics\n".to_owned(),
        ),
    }
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

/// What is wrong with the audit trail, for people: the pod stays ready (see [`crate::trail`]).
fn note_of(trail: &Trail) -> Option<CheckAnswer> {
    let why = trail.trouble()?;
    Some(CheckAnswer { name: "audit", status: up_or_down(true), data: Some(Why { why }) })
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
