//! All knobs of the serving half, as plain data.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;

use crate::auth::AuthConfig;
use crate::{AuditLog, TlsFiles};

/// How to listen, what to admit, and how to leave.
///
/// The defaults fit a pod whose `terminationGracePeriodSeconds` is 45: a preStop sleep of 10 s,
/// then [`lame_duck`](Self::lame_duck), then [`drain_timeout`](Self::drain_timeout), [`CUT`](crate::CUT),
/// two background tasks that take their [`STOP_TIMEOUT`](crate::STOP_TIMEOUT), and 3 s of margin. Whoever has more to
/// bring to an end needs as much more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where gRPC is served. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where administrative methods are served, and only they: then [`listen`](Self::listen) does not serve them. `None`:
    /// one listener serves all.
    pub admin_grpc_listen: Option<SocketAddr>,
    /// Where the admin HTTP is served (`/q/health/*`, `/q/metrics`). Port 0 lets the system choose.
    pub admin_listen: SocketAddr,
    /// `None`: plain text. The admin HTTP is always plain: kubelet and Prometheus are its callers.
    pub tls: Option<TlsFiles>,
    /// How often files of TLS are looked at, for whoever has more of them than [`tls`](Self::tls).
    pub tls_reload_interval: Duration,
    /// How callers are recognised. `None`: they are not asked, and may do everything.
    pub auth: Option<AuthConfig>,

    /// Time from accept to the end of the HTTP/2 preface, TLS included. A connection that is not done by
    /// then is dropped, so half-open handshakes hold neither memory nor the exit.
    pub handshake_timeout: Duration,
    /// Threads that the program's tasks share ([`program`](crate::program)). With one, a task that wakes another wakes
    /// no other thread, which makes a call cheaper; more let one process use more than one core.
    pub worker_threads: usize,
    /// Open connections, as far as the process may have files open. One more is accepted and closed at once, so that its client goes
    /// elsewhere instead of waiting in the backlog.
    pub max_connections: usize,
    /// Streams a connection may have open (`SETTINGS_MAX_CONCURRENT_STREAMS`). It also bounds
    /// how many calls of one client are left in doubt when this process is killed.
    pub max_concurrent_streams: u32,
    /// Age at which a connection is asked to leave (± 10 %, spread evenly), so that clients
    /// behind an L4 balancer are dealt out anew after a roll-out.
    pub connection_age: Duration,
    /// How long calls may go on after the connection reached its age.
    pub connection_age_grace: Duration,
    /// A connection without a stream for this long is asked to leave.
    pub connection_idle: Duration,
    /// Interval of HTTP/2 pings; a peer that answers none within `keepalive_timeout` is dropped.
    pub keepalive_interval: Duration,
    /// See [`keepalive_interval`](Self::keepalive_interval).
    pub keepalive_timeout: Duration,

    /// Calls in progress over all connections. More are refused with `RESOURCE_EXHAUSTED` and
    /// `grpc-retry-pushback-ms`. Health and reflection calls have a bound of their own.
    pub max_in_flight: usize,
    /// Least pushback told to a refused caller; the told values spread up to twice this, so
    /// that a refused crowd does not return as one.
    pub pushback: Duration,
    /// Bytes of one request message, on the wire and, where it comes compressed (gzip, zstd), plain. Longer
    /// ones end the call with `RESOURCE_EXHAUSTED`.
    pub max_message_bytes: u32,
    /// Deadline of a unary call whose caller sent no `grpc-timeout`.
    pub default_deadline: Duration,

    /// What keeps one caller from taking the server from the others.
    pub fairness: Fairness,

    /// gRPC-Web beside gRPC, for pages in browsers. `None`: it is not served, and neither is HTTP/1.1.
    pub grpc_web: Option<GrpcWeb>,

    /// How often the readiness checks run, and how long one may take.
    pub readiness_interval: Duration,
    /// How long checks must keep failing before a ready server says it is not.
    pub readiness_grace: Duration,

    /// Whether `grpc.reflection` (v1 and v1alpha) is served. It tells whoever can call it every method and message.
    pub reflection: bool,
    /// Where the audit trail goes.
    pub audit_log: AuditLog,

    /// After the first signal: the time in which the server says NOT_SERVING yet accepts and
    /// serves, while its connections are asked to leave one after the other.
    pub lame_duck: Duration,
    /// After the listener closed: the time in which calls may finish before they are cut off.
    pub drain_timeout: Duration,
}

/// What keeps one caller from taking the server from the others: shares of what is bounded, and an end to whatever holds
/// a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fairness {
    /// Most of [`max_connections`](ServeConfig::max_connections), [`max_in_flight`](ServeConfig::max_in_flight),
    /// [`max_watches`](Self::max_watches) and [`max_queued`](Self::max_queued) that one caller may hold alone, in percent;
    /// the less others leave free, the less it may. A caller is an authenticated identity, else an address. 100: whatever
    /// is free, for servers whose callers all share an address.
    pub caller_share_percent: u32,
    /// Health and reflection calls in progress; and 16 on one connection.
    pub max_watches: usize,
    /// Commands that were accepted and are not done, counted by the service ([`hold`](crate::hold)).
    pub max_queued: usize,
    /// Longest deadline; what callers ask for beyond it is cut.
    pub max_deadline: Duration,
    /// Time for a request of one message to be received whole.
    pub body_timeout: Duration,
}

/// Which pages may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcWeb {
    /// Origins of pages, as browsers send them: `https://shop.example`, with the port if it is not the scheme's own. A
    /// request that names another one is refused before it runs; one that names none is not from a page.
    pub origins: Vec<String>,
}

impl GrpcWeb {
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| origin == allowed)
    }
}

impl Default for Fairness {
    fn default() -> Self {
        Self {
            caller_share_percent: 50,
            max_watches: 4_096,
            max_queued: 16_384,
            max_deadline: Duration::from_secs(5 * 60),
            body_timeout: Duration::from_secs(15),
        }
    }
}

impl ServeConfig {
    /// The defaults, on these two ports: gRPC on loopback, since callers are not asked who they are, the admin HTTP on
    /// every address.
    #[must_use]
    pub fn on_ports(grpc: u16, admin: u16) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, grpc)),
            admin_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, admin)),
            audit_log: AuditLog::Stdout,
            ..Self::default()
        }
    }
}

impl Default for ServeConfig {
    /// Loopback with ports chosen by the system and no audit trail: what a test wants.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin_grpc_listen: None,
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            tls_reload_interval: Duration::from_secs(10),
            auth: None,
            handshake_timeout: Duration::from_secs(1),
            worker_threads: 1,
            max_connections: 4_096,
            max_concurrent_streams: 100,
            connection_age: Duration::from_secs(30),
            connection_age_grace: Duration::from_secs(30),
            connection_idle: Duration::from_secs(15 * 60),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_in_flight: 4_096,
            pushback: Duration::from_millis(100),
            max_message_bytes: 1024 * 1024,
            default_deadline: Duration::from_secs(15),
            fairness: Fairness::default(),
            grpc_web: None,
            readiness_interval: Duration::from_secs(1),
            readiness_grace: Duration::from_secs(5),
            reflection: true,
            audit_log: AuditLog::Off,
            lame_duck: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(20),
        }
    }
}
