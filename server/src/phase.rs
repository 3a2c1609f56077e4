//! The server's way out, as every connection sees it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How far the drain is. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Still accepting and serving; connections are asked to leave one after the other.
    LameDuck {
        from: Instant,
        until: Instant,
    },
    /// The listener is closed; calls in progress may finish.
    Closing,
    /// Whatever is still open is cut off.
    Forced,
}

/// A connection's view.
#[derive(Clone, Debug)]
pub(crate) struct PhaseWatch(watch::Receiver<Phase>);

impl PhaseWatch {
    pub(crate) fn new(receiver: watch::Receiver<Phase>) -> Self {
        Self(receiver)
    }

    /// Resolves at this connection's turn to leave: a fraction of the lame duck, or of what is
    /// left of it when called, or at once when the listener closes.
    pub(crate) async fn turn_to_leave(&mut self, fraction: f64) {
        let born = Instant::now();
        let Phase::LameDuck { from, until } = self.reached(|phase| phase != Phase::Serving).await
        else {
            return;
        };
        let turn = turn_of(from.max(born), until, fraction);
        tokio::select! {
            () = tokio::time::sleep_until(turn) => {}
            _ = self.reached(|phase| phase >= Phase::Closing) => {}
        }
    }

    /// Resolves when the listener is closed.
    pub(crate) async fn closing(&mut self) {
        self.reached(|phase| phase >= Phase::Closing).await;
    }

    /// Resolves when whatever is still open must go.
    pub(crate) async fn forced(&mut self) {
        self.reached(|phase| phase == Phase::Forced).await;
    }

    async fn reached(&mut self, is_reached: impl Fn(Phase) -> bool) -> Phase {
        match self.0.wait_for(|phase| is_reached(*phase)).await {
            Ok(phase) => *phase,
            // The server was dropped without a drain: nobody is left to finish for.
            Err(_dropped) => Phase::Forced,
        }
    }
}

/// The first part of the lame duck belongs to clients that leave by themselves because health or
/// discovery told them: a GOAWAY after the client left cannot cross a new call.
const HEAD_START: f64 = 0.25;

fn turn_of(from: Instant, until: Instant, fraction: f64) -> Instant {
    let length: Duration = until.saturating_duration_since(from);
    from + length.mul_f64(HEAD_START + (1.0 - HEAD_START) * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_lie_in_the_lame_duck_after_the_head_start() {
        let (from, length) = (Instant::now(), Duration::from_secs(8));
        assert_eq!(turn_of(from, from + length, 0.0), from + Duration::from_secs(2));
        assert_eq!(turn_of(from, from + length, 0.5), from + Duration::from_secs(5));
        assert_eq!(turn_of(from, from, 0.9), from);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_overtakes_a_turn_that_is_still_to_come() {
        let from = Instant::now();
        let until = from + Duration::from_secs(60);
        let phase = watch::Sender::new(Phase::LameDuck { from, until });
        let mut seen = PhaseWatch::new(phase.subscribe());
        let leaving = tokio::spawn(async move { seen.turn_to_leave(0.9).await });
        tokio::task::yield_now().await;
        phase.send_replace(Phase::Closing);
        leaving.await.unwrap();
        assert_eq!(from.elapsed(), Duration::ZERO);
    }
}
