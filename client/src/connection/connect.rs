//! From an address to a connection that carries calls: socket, TLS, HTTP/2 and the peer's SETTINGS,
//! all under one timeout.
//!
//! A server that accepts and then says nothing is as unreachable as one that refuses; only its
//! SETTINGS show that it is there.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::uri::{Authority, Scheme};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::driver::{Driver, Loss};
use super::facts::Facts;
use super::failure::ConnectError;
use super::health::{Health, HealthCell};
use super::keepalive::Keepalive;
use super::tap::Tap;
use super::tls::TlsClient;
use super::transport::{Connect, Io};
use super::{Connection, Streams};
use crate::capacity::Capacity;
use crate::config::Backoff;
use crate::entropy::Entropy;
use crate::pool::EndpointShared;

/// h2 charges 256 bytes, less its own length, for each small DATA frame that nobody has read yet, and
/// ends the *connection* when the charges exceed a budget, by default half its window. A caller that
/// reads a stream of small messages slowly would then end everyone's calls. This much is the full
/// window of a hundred streams of six-byte messages, the shortest there are but empty ones, at the
/// default window; it is also the bound on what such frames cost beside their bytes.
const SMALL_FRAMES_BYTES: usize = 1 << 30;

/// Charges for a window full of the shortest messages, in windows.
const SMALL_FRAMES_PER_STREAM: usize = 51;

/// What all connections of a channel have in common.
pub(crate) struct Setup {
    pub(crate) transport: Arc<dyn Connect>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Arc<Keepalive>,
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) tls: Option<TlsClient>,
    /// The service whose health to watch on each connection; absent: none is asked.
    pub(crate) health_service: Option<String>,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) user_agent: HeaderValue,
    pub(crate) stream_window_bytes: u32,
    pub(crate) connection_window_bytes: u32,
    /// Bytes of metadata that an answer may have.
    pub(crate) metadata_bytes_max: u32,
    /// Calls that a connection carries before it is replaced.
    pub(crate) calls_per_connection: u32,
    /// How tries to connect are spaced.
    pub(crate) backoff: Backoff,
    /// Told when endpoints that rest are to be tried at once.
    pub(crate) hurry: Notify,
}

impl Setup {
    /// Streams that a connection may have open, whatever the peer allows. The connection's window has
    /// room for the full window of each, so that what is not read on one never stops another.
    fn streams_max(&self) -> usize {
        (self.connection_window_bytes / self.stream_window_bytes.max(1)).max(1) as usize
    }

    fn small_frames_budget(&self) -> usize {
        let one_stream = SMALL_FRAMES_PER_STREAM.saturating_mul(self.stream_window_bytes as usize);
        SMALL_FRAMES_BYTES.max(one_stream)
    }
}

/// A fresh connection and the news of its end.
pub(crate) struct Established {
    pub(crate) connection: Arc<Connection>,
    pub(crate) lost: oneshot::Receiver<Loss>,
}

/// Connects and waits for SETTINGS. From then on a task of its own drives the connection; it ends
/// when the connection does, or when nobody can use it any more.
pub(crate) async fn establish(
    setup: &Setup,
    endpoint: Arc<EndpointShared>,
) -> Result<Established, ConnectError> {
    let limit = setup.connect_timeout;
    timeout(limit, handshake(setup, endpoint)).await.unwrap_or(Err(ConnectError::Timeout(limit)))
}

async fn handshake(
    setup: &Setup,
    endpoint: Arc<EndpointShared>,
) -> Result<Established, ConnectError> {
    let mut io = setup.transport.connect(&endpoint.address).await?;
    if let Some(tls) = &setup.tls {
        io = tls.wrap(io).await?;
    }
    let facts = Arc::new(Facts::new());
    let (sender, mut h2) = h2::client::Builder::new()
        .enable_push(false)
        // The true limit comes with SETTINGS, before the first call.
        .initial_max_send_streams(0)
        .initial_window_size(setup.stream_window_bytes)
        .initial_connection_window_size(setup.connection_window_bytes)
        .data_frame_budget(setup.small_frames_budget())
        .handshake::<Tap<Box<dyn Io>>, Bytes>(Tap::new(io, Arc::clone(&facts)))
        .await
        .map_err(|error| ConnectError::from(error).explained_by(&facts))?;
    let over_tls = setup.tls.is_some();
    let greeted = poll_fn(|cx| match std::pin::Pin::new(&mut h2).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(ConnectError::NoSettings { over_tls })),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
        Poll::Pending if facts.has_settings() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    greeted.await.map_err(|error| error.explained_by(&facts))?;

    let streams = Streams::new(setup.streams_max(), setup.calls_per_connection);
    streams.set_limit(h2.max_concurrent_send_streams());
    let streams = Arc::new(streams);
    let (tell, lost) = oneshot::channel();
    let driver = Driver::new(h2, Arc::clone(&facts), Arc::clone(&streams), setup, tell);
    tokio::spawn(driver.run());
    let capacity = Arc::clone(&setup.capacity);
    let unasked = setup.health_service.is_none();
    let health = HealthCell::new(if unasked { Health::Serving } else { Health::Unknown });
    let connection = Arc::new(Connection { endpoint, facts, sender, streams, capacity, health });
    Ok(Established { connection, lost })
}
