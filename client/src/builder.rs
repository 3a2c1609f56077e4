//! Every knob of a channel, with its unit, its default and where the default comes from.

use std::sync::Arc;
use std::time::Duration;

use credentials::TlsError;
use http::HeaderValue;
use http::uri::{Authority, Scheme};
use tokio::sync::Notify;

use crate::call::{Budget, Throttle};
use crate::capacity::Capacity;
use crate::channel::Channel;
use crate::config::{Backoff, ConfigErrors, ServiceConfig};
use crate::connection::tls::Tls;
use crate::connection::transport::{Connect, Sockets};
use crate::connection::{Keepalive, Setup};
use crate::entropy::Entropy;
use crate::meters::Meters;
use crate::pool::{CONNECTION_BACKOFF, Pool};
use crate::resolve::{Discovery, Refresh, Resolve, ResolveError};
use crate::shared::Shared;
use crate::target::{Target, TargetError};
use crate::telemetry::Telemetry;

const USER_AGENT: &str = concat!("grpc-rust-holdfast/", env!("CARGO_PKG_VERSION"));

/// The ids that HTTP/2 has for calls, less a million: places are counted before ids are used.
const CALLS_PER_CONNECTION: u32 = (1 << 30) - (1 << 20);

/// Sets up a [`Channel`].
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    target: String,
    service_config: Option<String>,
    authority: Option<String>,
    resolver: Option<Arc<dyn Resolve>>,
    transport: Arc<dyn Connect>,
    connect_timeout: Duration,
    keepalive_time: Duration,
    keepalive_timeout: Duration,
    keepalive_without_calls: bool,
    keepalive_below_floor: bool,
    backoff: Backoff,
    calls_per_connection: u32,
    metadata_bytes_max: u32,
    refresh: Refresh,
    wait_for_ready: bool,
    waiting_max: usize,
    replay_bytes_per_call: usize,
    replay_bytes_per_channel: usize,
    stream_window_bytes: u32,
    connection_window_bytes: u32,
    seed: Option<u64>,
    tls: Option<Tls>,
}

/// Why a channel cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The target is not understood.
    #[error("target: {0}")]
    Target(#[from] TargetError),
    /// The service config has problems; all of them are listed.
    #[error("service config: {0}")]
    ServiceConfig(#[from] ConfigErrors),
    /// The authority is no `host[:port]`.
    #[error("authority {0:?} is not host:port")]
    Authority(String),
    /// The system's resolver cannot be set up.
    #[error(transparent)]
    Resolver(#[from] ResolveError),
    /// `https` needs TLS settings.
    #[error("an https target needs TLS settings: it is they that make a channel speak TLS")]
    TlsMissing,
    /// `http` and TLS settings contradict each other.
    #[error(
        "an http target is plaintext, and there are TLS settings: name https, or dns:///host:port"
    )]
    TlsUnwanted,
    /// The TLS settings cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// A channel has a task, which needs a runtime to run on.
    #[error("no tokio runtime is running here")]
    NoRuntime,
}

impl Builder {
    pub(crate) fn new(target: String) -> Self {
        Self {
            target,
            service_config: None,
            authority: None,
            resolver: None,
            transport: Arc::new(Sockets),
            connect_timeout: Duration::from_secs(5),
            keepalive_time: Duration::from_secs(5 * 60),
            keepalive_timeout: Duration::from_secs(20),
            keepalive_without_calls: false,
            keepalive_below_floor: false,
            backoff: CONNECTION_BACKOFF,
            calls_per_connection: CALLS_PER_CONNECTION,
            metadata_bytes_max: 64 << 10,
            refresh: Refresh {
                interval: Duration::from_secs(30),
                min_interval: Duration::from_secs(1),
                timeout: Duration::from_secs(10),
            },
            wait_for_ready: false,
            waiting_max: 10_000,
            replay_bytes_per_call: 256 << 10,
            replay_bytes_per_channel: 16 << 20,
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 512 << 20,
            seed: None,
            tls: None,
        }
    }

    /// The service config, standard JSON; see [`ServiceConfig`]. Default: no retries, least request.
    pub fn service_config(mut self, json: impl Into<String>) -> Self {
        self.service_config = Some(json.into());
        self
    }

    /// What requests carry as `:authority`. Default: the target's (first) `host:port`.
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = Some(authority.into());
        self
    }

    /// Takes addresses from here instead of from the target, which then only names the authority.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Opens byte streams this way. Default: the system's sockets.
    pub fn transport(mut self, transport: impl Connect) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Bound on one try to connect: TCP, TLS and the peer's SETTINGS together. Default 5 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Pings after this silence (default 5 min) and gives the connection up when nothing comes back within
    /// the second time (default 20 s).
    ///
    /// The defaults are for peers of which nothing is known: gRFC A8 lets servers refuse clients that
    /// ping more often than every 5 min, and gRPC's own servers do, which ends every call on the
    /// connection. Shorter times, down to 10 s (gRFC A8's floor), are for servers known to allow them.
    pub fn keepalive(mut self, time: Duration, timeout: Duration) -> Self {
        (self.keepalive_time, self.keepalive_timeout) = (time, timeout);
        self
    }

    /// Whether to ping while no call is under way, so that a dead peer is known before the next call
    /// meets it. Default false, as in gRPC: servers that do not allow it count such pings as abuse.
    pub fn keepalive_without_calls(mut self, pings: bool) -> Self {
        self.keepalive_without_calls = pings;
        self
    }

    /// Allows a keepalive time below gRFC A8's floor of 10 s, for servers known to allow it.
    pub fn keepalive_below_floor(mut self, allowed: bool) -> Self {
        self.keepalive_below_floor = allowed;
        self
    }

    /// How tries to connect to one endpoint are spaced after a failure: from `initial` (default 1 s) by
    /// `multiplier` (default 1.6, at least 1) up to `max` (default 120 s), ±20 %. Failed lookups of the
    /// target are no further apart than `max` either. Defaults: grpc/grpc `doc/connection-backoff.md`. After
    /// an outage the first call waits `max` at worst; see also
    /// [`Channel::reset_connect_backoff`].
    pub fn connection_backoff(mut self, initial: Duration, max: Duration, multiplier: f64) -> Self {
        let multiplier = if multiplier >= 1.0 { multiplier } else { 1.0 };
        self.backoff = Backoff { initial: initial.min(max), max, multiplier };
        self
    }

    /// Calls that a connection carries before another takes its place; calls under way on it finish.
    /// Default 1 072 693 248: HTTP/2 has 2³⁰ stream ids for calls, and none can be used twice.
    pub fn calls_per_connection(mut self, calls: u32) -> Self {
        self.calls_per_connection = calls.clamp(1, CALLS_PER_CONNECTION);
        self
    }

    /// Bytes of metadata that the headers or the trailers of an answer may have, as HTTP/2 reckons them
    /// (RFC 9113, 6.5.2). Default 64 KiB. An answer with more fails its call with RESOURCE_EXHAUSTED.
    pub fn metadata_bytes_max(mut self, bytes: u32) -> Self {
        self.metadata_bytes_max = bytes;
        self
    }

    /// Bounds between two lookups of the target: the longest (default 30 s; an answer's own validity
    /// counts if shorter) and the shortest (default 1 s, however many endpoints are lost).
    pub fn resolve_every(mut self, longest: Duration, shortest: Duration) -> Self {
        (self.refresh.interval, self.refresh.min_interval) = (longest.max(shortest), shortest);
        self
    }

    /// Bound on one lookup. Default 10 s.
    pub fn resolve_timeout(mut self, timeout: Duration) -> Self {
        self.refresh.timeout = timeout;
        self
    }

    /// Whether calls wait while no endpoint can be reached, where neither the call nor its method
    /// says. Default false, as in gRPC.
    pub fn wait_for_ready(mut self, wait: bool) -> Self {
        self.wait_for_ready = wait;
        self
    }

    /// Calls that may wait for an endpoint at one time; one more fails with RESOURCE_EXHAUSTED.
    /// Default 10 000.
    pub fn waiting_max(mut self, calls: usize) -> Self {
        self.waiting_max = calls;
        self
    }

    /// Bytes of requests remembered for retries: per call (default 256 KiB, as in grpc-core) and per
    /// channel (default 16 MiB, as in grpc-java). A call beyond them is not sent again.
    pub fn replay_bytes(mut self, per_call: usize, per_channel: usize) -> Self {
        (self.replay_bytes_per_call, self.replay_bytes_per_channel) = (per_call, per_channel);
        self
    }

    /// HTTP/2 receive windows in bytes: per stream (default 256 KiB) and per connection (default 512 MiB).
    ///
    /// They bound what is received and not yet read: one call's answer to the first, all answers on a
    /// connection to the second, and to its calls under way times the first, which with the 100 streams
    /// that most servers allow is 25 MiB. A connection carries no more calls at one time than its window
    /// has room for (by default 2 048), so that answers that are not read stop only themselves. Answers
    /// made of messages shorter than 256 bytes cost up to 1 GiB per connection beside, as h2 reckons it;
    /// beyond that the connection ends.
    pub fn windows(mut self, stream_bytes: u32, connection_bytes: u32) -> Self {
        (self.stream_window_bytes, self.connection_window_bytes) = (stream_bytes, connection_bytes);
        self
    }

    /// Makes every random choice (spreading, jitter) repeatable. Default: seeded by the system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Speaks TLS to every endpoint, whatever the target's scheme, but for `http`. Default: plaintext.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Starts the channel: it resolves and connects at once, without waiting for a call. To be called
    /// within a tokio runtime.
    pub fn build(self) -> Result<Channel, BuildError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let (config, resolver, setup) = self.parts()?;
        let setup = Arc::new(setup);
        let meters = Meters::new(&self.target, config.methods.named());
        let telemetry = Arc::new(Telemetry::new(meters));
        let failures_max = self.backoff.max.min(self.refresh.interval);
        let discovery =
            Discovery::new(resolver, self.refresh, failures_max, Arc::clone(&setup.entropy));
        let (pool, pickers) = Pool::new(
            Arc::clone(&setup),
            config.balancing,
            config.outlier,
            discovery,
            Arc::clone(&telemetry),
        );
        runtime.spawn(pool.run());
        let budget = Budget::new(self.replay_bytes_per_call, self.replay_bytes_per_channel);
        let shared = Shared {
            pickers,
            setup,
            throttle: Throttle::new(config.throttling),
            replay: Arc::new(budget),
            telemetry,
            methods: config.methods,
            wait_for_ready: self.wait_for_ready,
        };
        Ok(Channel { shared: Arc::new(shared) })
    }

    /// Says what [`build`](Self::build) would refuse. Starts nothing and needs no runtime: for whoever judges a
    /// configuration.
    pub fn check(&self) -> Result<(), BuildError> {
        self.parts().map(drop)
    }

    fn parts(&self) -> Result<(ServiceConfig, Arc<dyn Resolve>, Setup), BuildError> {
        let target = Target::parse(&self.target)?;
        let config = self.service_config.as_deref().map(ServiceConfig::parse).transpose()?;
        let config = config.unwrap_or_default();
        let resolver = match &self.resolver {
            Some(resolver) => Arc::clone(resolver),
            None => target.resolver()?,
        };
        let setup = self.setup(&target, config.health_service.clone())?;
        Ok((config, resolver, setup))
    }

    fn setup(&self, target: &Target, health: Option<String>) -> Result<Setup, BuildError> {
        let authority = self.authority.clone().unwrap_or_else(|| target.authority());
        let authority: Authority =
            authority.parse().map_err(|_| BuildError::Authority(authority))?;
        if target.is_https() && self.tls.is_none() {
            return Err(BuildError::TlsMissing);
        }
        if target.is_http() && self.tls.is_some() {
            return Err(BuildError::TlsUnwanted);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let tls = self.tls.as_ref().map(|tls| tls.client(host)).transpose()?;
        Ok(Setup {
            transport: Arc::clone(&self.transport),
            connect_timeout: self.connect_timeout,
            keepalive: Arc::new(Keepalive::new(
                self.keepalive_time,
                self.keepalive_timeout,
                self.keepalive_without_calls,
                self.keepalive_below_floor,
            )),
            capacity: Arc::new(Capacity::new(self.waiting_max)),
            entropy: Arc::new(self.seed.map_or_else(Entropy::from_system, Entropy::seeded)),
            scheme: if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP },
            tls,
            health_service: health,
            authority,
            user_agent: HeaderValue::from_static(USER_AGENT),
            stream_window_bytes: self.stream_window_bytes,
            connection_window_bytes: self.connection_window_bytes,
            metadata_bytes_max: self.metadata_bytes_max,
            calls_per_connection: self.calls_per_connection,
            backoff: self.backoff,
            hurry: Notify::new(),
        })
    }
}
