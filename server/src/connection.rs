//! The life of one connection: handshake, serving, asked to leave, gone.
//!
//! Promised: a connection ends within its age, a grace, and the server's drain, whatever its
//! peer does. Until it is cut off, calls in progress are finished; what is cut off is counted.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::ServeConfig;
use crate::call::{Activity, Calls, ConnectionCalls};
use crate::handshake::handshake;
use crate::metrics::{CALLS_FORCED, CONNECTIONS_ENDED};
use crate::phase::PhaseWatch;

/// After GOAWAY on a connection without streams: the time a peer has to acknowledge it. One
/// that does not is stopped or gone, and waiting for it would spend the drain on nobody.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It never came to HTTP/2.
    Handshake,
    /// The peer closed it, or it broke.
    Peer,
    /// Asked to leave, it left.
    Left,
    /// Asked to leave, it was cut off with this many calls in progress.
    Cut { calls: usize },
}

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Connections {
    http2: http2::Builder<TokioExecutor>,
    calls: Arc<Calls>,
    config: ServeConfig,
}

/// Why a connection is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Age,
    Idle,
    Drain,
}

impl Connections {
    pub(crate) fn new(calls: Arc<Calls>, config: ServeConfig) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_concurrent_streams)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout);
        Self { http2, calls, config }
    }

    /// Serves one connection to its end. `fraction` of [0, 1) spreads its departure among
    /// those of the others.
    pub(crate) async fn serve(
        &self,
        stream: TcpStream,
        fraction: f64,
        mut phase: PhaseWatch,
    ) -> End {
        let end = self.live(stream, fraction, &mut phase).await;
        let cause = match end {
            End::Handshake => "handshake",
            End::Peer => "peer",
            End::Left => "left",
            End::Cut { .. } => "cut",
        };
        metrics::counter!(CONNECTIONS_ENDED, "cause" => cause).increment(1);
        if let End::Cut { calls: calls @ 1.. } = end {
            metrics::counter!(CALLS_FORCED).increment(u64::try_from(calls).unwrap_or(u64::MAX));
            tracing::warn!(calls, "connection cut off with calls in progress");
        }
        end
    }

    async fn live(&self, stream: TcpStream, fraction: f64, phase: &mut PhaseWatch) -> End {
        let shaken = tokio::select! {
            shaken = handshake(stream, self.config.handshake_timeout) => shaken,
            () = phase.closing() => return End::Handshake,
        };
        let stream = match shaken {
            Ok(stream) => stream,
            Err(why) => {
                tracing::debug!(%why, "handshake failed");
                return End::Handshake;
            }
        };
        let activity = Activity::new();
        let calls = ConnectionCalls { calls: self.calls.clone(), activity: activity.clone() };
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(stream), calls));
        let reason = tokio::select! {
            ended = connection.as_mut() => {
                tracing::debug!(?ended, "connection closed by its peer");
                return End::Peer;
            }
            reason = self.asked_to_leave(fraction, &activity, phase) => reason,
        };
        tracing::debug!(?reason, "sending GOAWAY");
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ended = connection => End::Left,
            () = self.out_of_patience(reason, &activity, phase) => match activity.calls() {
                0 => End::Left,
                calls => End::Cut { calls },
            },
        }
    }

    async fn asked_to_leave(
        &self,
        fraction: f64,
        activity: &Activity,
        phase: &mut PhaseWatch,
    ) -> Reason {
        tokio::select! {
            () = sleep(age_of(self.config.connection_age, fraction)) => Reason::Age,
            () = activity.wait_idle(self.config.connection_idle) => Reason::Idle,
            () = phase.turn_to_leave(fraction) => Reason::Drain,
        }
    }

    /// Resolves when a connection that was sent GOAWAY has to be cut off.
    async fn out_of_patience(&self, reason: Reason, activity: &Activity, phase: &mut PhaseWatch) {
        let grace = async {
            match reason {
                Reason::Age | Reason::Idle => sleep(self.config.connection_age_grace).await,
                Reason::Drain => std::future::pending().await,
            }
        };
        let mut closing = phase.clone();
        let unanswered = async {
            closing.closing().await;
            loop {
                activity.wait_quiet().await;
                sleep(FAREWELL).await;
                if activity.is_quiet() {
                    return;
                }
            }
        };
        tokio::select! {
            () = grace => {}
            () = unanswered => {}
            () = phase.forced() => {}
        }
    }
}

/// The age give or take a tenth.
fn age_of(age: Duration, fraction: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * fraction)
}
