//! Running a server, and leaving in order.
//!
//! 1. Signal: health and readiness say NOT_SERVING. Still accepting, still serving.
//! 2. Over the lame duck: connections are sent GOAWAY, one after the other.
//! 3. The listener closes; Health/Watch streams end.
//! 4. Calls in progress finish, within the drain timeout.
//! 5. What is left is cut off, counted and logged.
//!
//! Clients leave *before* their connection's final GOAWAY wherever they can (steps 1, 2): after
//! that frame h2 answers a WINDOW_UPDATE on a stream it ignores with a connection error, which
//! kills every call in flight there. A second signal goes to step 5 at once. Nothing a client
//! does or leaves undone makes the exit later than lame duck + drain timeout + [`CUT`].

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::accept::Acceptor;
use crate::admin::Notes;
use crate::connection::Connections;
use crate::doors::Doors;
use crate::health::{Health, Readiness};
use crate::phase::Phase;
use crate::surface::Surface;
use crate::{Bound, ServeConfig, Signals, admin, descriptors, exposure};

/// The time in which cut-off connections are expected to be gone.
pub const CUT: Duration = Duration::from_secs(1);

/// How a server left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Calls answered over the server's life, health and reflection left out.
    pub calls_answered: u64,
    /// Calls answered since the signal.
    pub calls_drained: u64,
    /// Connections that were cut off with calls in progress, over the server's life.
    pub connections_cut: u64,
    /// Calls cut off with them.
    pub calls_cut: u64,
    /// Whether the drain was ended by a second signal or by its timeout.
    pub forced: bool,
    /// From the signal to now.
    pub took: Duration,
}

impl Summary {
    /// 0 after a clean drain, 3 after a forced one.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.forced { 3 } else { 0 })
    }
}

impl Bound {
    /// Serves until the first signal, then drains. Returns when nothing is served any more.
    pub async fn run(self, mut signals: Signals) -> Summary {
        let Self {
            config,
            listener,
            admin_grpc_listener,
            admin_listener,
            addresses,
            tls,
            health,
            checks,
            calls,
            phase,
        } = self;
        let admin_grpc = addresses.admin_grpc.map(tracing::field::display);
        tracing::info!(grpc = %addresses.grpc, admin_grpc, admin = %addresses.admin, "listening");
        let warnings = exposure::warnings(&config);
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let notes = Notes { trail: calls.trail.clone(), gate: calls.gate.clone(), warnings };
        let _background = [
            Background::spawn(admin::serve(admin_listener, health.clone(), Arc::new(notes))),
            Background::spawn({
                let (health, period) = (health.clone(), config.readiness_interval);
                async move { health.keep_checking(checks, period, config.readiness_grace).await }
            }),
        ];
        let _watching = calls.gate.clone().map(|gate| Background::spawn(gate.keep_reloading()));
        let (tls, reloader) = tls.unzip();
        let _reloading = reloader.map(|reloader| Background::spawn(reloader.run()));
        let connections = Arc::new(Connections::new(calls.clone(), tls, config.clone()));
        let listeners = 1 + usize::from(admin_grpc_listener.is_some());
        let fitting = descriptors::fit(config.max_connections, listeners);
        let share = config.fairness.caller_share_percent;
        let acceptor = |surface| {
            let phase = phase.subscribe();
            Acceptor::new(connections.clone(), surface, fitting, share, phase)
        };
        let (doors, listeners) = match admin_grpc_listener {
            None => (vec![acceptor(Surface::Whole)], vec![listener]),
            Some(administrative) => (
                vec![acceptor(Surface::Public), acceptor(Surface::Administrative)],
                vec![listener, administrative],
            ),
        };
        let doors = Doors::new(doors);
        let mut accepting = Box::pin(doors.accept_from(listeners));

        let signal = tokio::select! {
            never = &mut accepting => match never {},
            signal = signals.next() => signal,
        };
        let (signalled, answered_before) = (Instant::now(), calls.totals.answered());
        tracing::info!(signal, connections = doors.open(), "leaving: lame duck");
        let mut drain = Drain { config, phase, health, doors: &doors, signals };
        let hurried = drain.lame_duck(&mut accepting, signalled).await;
        drop(accepting);
        let forced = drain.close(hurried).await;

        let calls_answered = calls.totals.answered();
        let summary = Summary {
            calls_answered,
            calls_drained: calls_answered - answered_before,
            connections_cut: doors.connections_cut(),
            calls_cut: doors.calls_cut(),
            forced,
            took: signalled.elapsed(),
        };
        // Calls have ended, and with them the last lines were handed in.
        if let Some(trail) = &calls.trail {
            trail.close().await;
        }
        tracing::info!(?summary, "left");
        summary
    }
}

/// The steps after the signal.
struct Drain<'server> {
    config: ServeConfig,
    phase: watch::Sender<Phase>,
    health: Arc<Health>,
    doors: &'server Doors,
    signals: Signals,
}

impl Drain<'_> {
    /// Says NOT_SERVING and goes on serving. True when a second signal ended it.
    async fn lame_duck(
        &mut self,
        accepting: &mut (impl Future<Output = Infallible> + Unpin),
        from: Instant,
    ) -> bool {
        self.health.leave(Readiness::LameDuck);
        let until = from + self.config.lame_duck;
        self.phase.send_replace(Phase::LameDuck { from, until });
        let serving = async {
            tokio::select! {
                never = accepting => match never {},
                () = sleep_until(until) => {}
            }
        };
        or_signal(serving, &mut self.signals).await
    }

    /// With the listener closed, lets calls finish unless hurried, and cuts off what is left.
    /// True when it came to that.
    async fn close(mut self, hurried: bool) -> bool {
        self.health.leave(Readiness::Closing);
        let forced = hurried || !self.finish().await;
        if forced {
            self.phase.send_replace(Phase::Forced);
            if timeout(CUT, self.doors.wait_all_gone()).await.is_err() {
                tracing::error!(connections = self.doors.open(), "connections left behind");
            }
        }
        forced
    }

    /// True when all connections left within the bound.
    async fn finish(&mut self) -> bool {
        tracing::info!(connections = self.doors.open(), "listener closed: calls may finish");
        self.phase.send_replace(Phase::Closing);
        let mut finished = false;
        let all_gone = async {
            let gone = timeout(self.config.drain_timeout, self.doors.wait_all_gone());
            finished = gone.await.is_ok();
        };
        !or_signal(all_gone, &mut self.signals).await && finished
    }
}

/// True when a signal came before the work was done.
async fn or_signal(work: impl Future<Output = ()>, signals: &mut Signals) -> bool {
    tokio::select! {
        () = work => false,
        signal = signals.next() => {
            tracing::warn!(signal, "second signal: leaving at once");
            true
        }
    }
}

/// A task that ends with its owner.
struct Background(AbortHandle);

impl Background {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
