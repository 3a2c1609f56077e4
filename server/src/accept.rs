//! The accept loop: one task per connection, at most so many in all, and of one address no more than its share.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::caller::CallerKey;
use crate::connection::{Connections, End};
use crate::metrics::{CONNECTIONS, CONNECTIONS_ENDED, refused};
use crate::phase::{Phase, PhaseWatch};
use crate::quota::{Full, Hold, Quota};
use crate::spread::Spread;
use crate::surface::{Arrival, Surface};

/// Pause after the system refused to accept, for lack of descriptors usually. The backlog
/// keeps the waiting clients meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections and knows the open ones.
#[derive(Debug)]
pub(crate) struct Acceptor {
    connections: Arc<Connections>,
    surface: Surface,
    slots: Arc<Quota>,
    spread: Spread,
    phase: watch::Receiver<Phase>,
    open: TaskTracker,
    ends: Arc<Ends>,
}

/// Connections and calls that had to be cut off.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    connections_cut: AtomicU64,
    calls_cut: AtomicU64,
}

impl Acceptor {
    pub(crate) fn new(
        connections: Arc<Connections>,
        surface: Surface,
        max_connections: usize,
        caller_share_percent: u32,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        let slots = Quota::new(max_connections, caller_share_percent);
        let (open, ends) = (TaskTracker::new(), Arc::default());
        Self { connections, surface, slots, spread: Spread::default(), phase, open, ends }
    }

    /// Accepts until dropped, which closes the listener.
    pub(crate) async fn accept_from(&self, listener: TcpListener) -> Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(why) => {
                    tracing::warn!(%why, "the system refused a connection");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Resolves when no connection is open. Call it when no more are accepted.
    pub(crate) async fn wait_all_gone(&self) {
        self.open.close();
        self.open.wait().await;
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn connections_cut(&self) -> u64 {
        self.ends.connections_cut.load(Ordering::Relaxed)
    }

    pub(crate) fn calls_cut(&self) -> u64 {
        self.ends.calls_cut.load(Ordering::Relaxed)
    }

    fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        let slot = match self.slots.take(&CallerKey::of_address(peer.ip()), 1) {
            Ok(slot) => slot,
            // Closed at once, the client knows that nothing was sent and goes elsewhere.
            Err(full) => return refuse(full, peer.ip()),
        };
        if let Err(why) = stream.set_nodelay(true) {
            tracing::debug!(%why, "connection left before it was served");
            return;
        }
        let arrival = Arrival { peer, surface: self.surface };
        self.open.spawn(self.serve(stream, arrival, slot));
    }

    fn serve(
        &self,
        stream: TcpStream,
        arrival: Arrival,
        slot: Hold,
    ) -> impl Future<Output = ()> + Send + use<> {
        let connections = self.connections.clone();
        let ends = self.ends.clone();
        let phase = PhaseWatch::new(self.phase.clone());
        let fraction = self.spread.next();
        async move {
            let open = metrics::gauge!(CONNECTIONS);
            open.increment(1.0);
            if let End::Cut { calls } = connections.serve(stream, arrival, fraction, phase).await {
                ends.connections_cut.fetch_add(1, Ordering::Relaxed);
                ends.calls_cut
                    .fetch_add(u64::try_from(calls).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            open.decrement(1.0);
            drop(slot);
        }
    }
}

fn refuse(full: Full, peer: IpAddr) {
    let bound = match full {
        Full::Bound => "connections",
        Full::Share => "caller_connections",
    };
    refused(bound);
    metrics::counter!(CONNECTIONS_ENDED, "cause" => "full").increment(1);
    tracing::debug!(%peer, bound, "connection refused: too many are open");
}
