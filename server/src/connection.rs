//! The life of one connection: handshake, serving, asked to leave, gone.
//!
//! Promised: a connection ends within its age, a grace, and the server's drain, whatever its
//! peer does. Until it is cut off, calls in progress are finished; what is cut off is counted.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use credentials::InForce;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::auth::Peer;
use crate::call::{Activity, Calls, ConnectionCalls};
use crate::complaints::Complaints;
use crate::handshake::{self, Failed, Prefaced, Protocol};
use crate::metrics::{CALLS_FORCED, CONNECTIONS_ENDED};
use crate::phase::PhaseWatch;
use crate::streams::Streams;
use crate::surface::Arrival;
use crate::{PeerCertificate, ServeConfig};

/// After GOAWAY on a connection without streams: the time a peer has to acknowledge it. One
/// that does not is stopped or gone, and waiting for it would spend the drain on nobody.
const FAREWELL: Duration = Duration::from_secs(1);

/// What one stream may have written that its peer has not read; beyond it the stream waits, and is cut at its deadline.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It never came to HTTP.
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
    http2: http2::Builder<Streams>,
    /// What browsers speak without TLS: served for gRPC-Web alone.
    http1: http1::Builder,
    tls: Option<InForce<ServerConfig>>,
    calls: Arc<Calls>,
    config: ServeConfig,
    complaints: Complaints,
}

/// Why a connection is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Age,
    Idle,
    Drain,
}

impl Connections {
    pub(crate) fn new(
        calls: Arc<Calls>,
        tls: Option<InForce<ServerConfig>>,
        config: ServeConfig,
    ) -> Self {
        let mut http2 = http2::Builder::new(Streams);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.max_concurrent_streams)
            .max_send_buf_size(UNREAD_BYTES_MAX)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout);
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(config.fairness.body_timeout)
            .max_buf_size(UNREAD_BYTES_MAX);
        Self { http2, http1, tls, calls, config, complaints: Complaints::default() }
    }

    /// Serves one connection to its end. `fraction` of [0, 1) spreads its departure among
    /// those of the others.
    pub(crate) async fn serve(
        &self,
        stream: TcpStream,
        arrival: Arrival,
        fraction: f64,
        mut phase: PhaseWatch,
    ) -> End {
        let end = self.live(stream, arrival, fraction, &mut phase).await;
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

    async fn live(
        &self,
        stream: TcpStream,
        arrival: Arrival,
        fraction: f64,
        phase: &mut PhaseWatch,
    ) -> End {
        let (from, http1) = (Some(arrival.peer), self.config.grpc_web.is_some());
        match self.tls.as_ref().map(|tls| TlsAcceptor::from(tls.now())) {
            None => match self.shake(handshake::plain(stream, http1), from, phase).await {
                Some(stream) => self.converse(stream, (arrival, None), fraction, phase).await,
                None => End::Handshake,
            },
            Some(acceptor) => {
                let handshake = handshake::encrypted(stream, acceptor, http1);
                match self.shake(handshake, from, phase).await {
                    Some((stream, proved)) => {
                        self.converse(stream, (arrival, proved), fraction, phase).await
                    }
                    None => End::Handshake,
                }
            }
        }
    }

    /// Bounds a handshake by its deadline and by the listener's close.
    async fn shake<S>(
        &self,
        handshake: impl Future<Output = Result<S, Failed>>,
        peer: Option<SocketAddr>,
        phase: &mut PhaseWatch,
    ) -> Option<S> {
        let shaken = tokio::select! {
            shaken = timeout(self.config.handshake_timeout, handshake) => shaken,
            () = phase.closing() => return None,
        };
        let Failed { why, stream } = match shaken.map_err(Failed::from).flatten() {
            Ok(stream) => return Some(stream),
            Err(failed) => failed,
        };

        self.complaints.handshake_failed(peer, &why);
        if let Some(stream) = stream {
            tokio::select! {
                () = handshake::see_off(stream, &why) => {}
                () = phase.closing() => {}
            }
        }
        None
    }

    async fn converse<S>(
        &self,
        stream: Prefaced<S>,
        (arrival, certificate): (Arrival, Option<PeerCertificate>),
        fraction: f64,
        phase: &mut PhaseWatch,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let peer = Peer::new(Some(arrival.peer.ip()), certificate.as_ref());
        let calls = ConnectionCalls {
            calls: self.calls.clone(),
            activity: activity.clone(),
            arrival,
            certificate,
            peer,
        };
        let departure = (fraction, &*activity, phase);
        let (protocol, stream) = (stream.protocol(), TokioIo::new(stream));
        match protocol {
            Protocol::Http2 => {
                let connection = self.http2.serve_connection(stream, calls);
                let leave = |it: Pin<&mut http2::Connection<_, _, _>>| it.graceful_shutdown();
                self.serve_until_gone(connection, leave, departure).await
            }
            // Boxed, for it is rare, and would take its room in the task of every other.
            Protocol::Http1 => {
                let connection = self.http1.serve_connection(stream, calls);
                let leave = |it: Pin<&mut http1::Connection<_, _>>| it.graceful_shutdown();
                Box::pin(self.serve_until_gone(connection, leave, departure)).await
            }
        }
    }

    /// `leave` asks the peer to go: GOAWAY, or in HTTP/1 no keep-alive after the answer.
    async fn serve_until_gone<C>(
        &self,
        connection: C,
        leave: impl FnOnce(Pin<&mut C>),
        (fraction, activity, phase): (f64, &Activity, &mut PhaseWatch),
    ) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let reason = tokio::select! {
            ended = connection.as_mut() => {
                tracing::debug!(?ended, "connection closed by its peer");
                return End::Peer;
            }
            reason = self.asked_to_leave(fraction, activity, phase) => reason,
        };
        tracing::debug!(?reason, "asking the peer to leave");
        leave(connection.as_mut());
        tokio::select! {
            _ended = connection => End::Left,
            () = self.out_of_patience(reason, activity, phase) => match activity.calls() {
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
            () = drain_turn(fraction, activity, phase) => Reason::Drain,
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

/// This connection's turn in the drain, and then the first moment without a call in progress, if
/// one comes before the listener closes: a GOAWAY that meets no call can hurt none, whatever the
/// peer answers to it.
async fn drain_turn(fraction: f64, activity: &Activity, phase: &mut PhaseWatch) {
    phase.turn_to_leave(fraction).await;
    tokio::select! {
        () = activity.wait_no_calls() => {}
        () = phase.closing() => {}
    }
}

/// The age give or take a tenth.
fn age_of(age: Duration, fraction: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * fraction)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::phase::Phase;

    const LAME_DUCK: Duration = Duration::from_secs(8);

    /// When a connection leaves whose one call ends after `call`, or never.
    async fn left_after(call: Option<Duration>) -> Duration {
        let from = Instant::now();
        let phase = watch::Sender::new(Phase::LameDuck { from, until: from + LAME_DUCK });
        let activity = Activity::new();
        let busy = activity.clone().begin(true);
        let mut seen = PhaseWatch::new(phase.subscribe());
        let leaving = tokio::spawn({
            let activity = activity.clone();
            async move {
                drain_turn(0.0, &activity, &mut seen).await;
                from.elapsed()
            }
        });
        sleep(call.unwrap_or(LAME_DUCK)).await;
        if call.is_some() {
            drop(busy);
            sleep(LAME_DUCK).await;
        }
        phase.send_replace(Phase::Closing);
        leaving.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn goaway_waits_for_the_turn_and_then_for_a_moment_without_calls() {
        assert_eq!(left_after(Some(Duration::from_secs(1))).await, Duration::from_secs(2));
        assert_eq!(left_after(Some(Duration::from_secs(5))).await, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_never_without_calls_leaves_when_the_listener_closes() {
        assert_eq!(left_after(None).await, LAME_DUCK);
    }
}
