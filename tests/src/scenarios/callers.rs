//! The clients: our channel, tonic's balancing channel, that one wrapped in the retry that everybody
//! writes first, and, where it is installed, grpc-core's in a process of its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client::Channel;
use client::resolve::{Address, Resolve, Resolved, Resolving};
use tokio::sync::watch;
use tonic::transport::channel::Change;
use tonic::transport::{self, Endpoint};
use tonic::{Code, Status};

use super::{ForeignClient, Settings};
use crate::HarnessError;
use crate::echo::{self, Ping};

/// Whose channel is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// Ours.
    Holdfast,
    /// tonic's `balance_channel`.
    Balance,
    /// tonic's `balance_channel`, UNAVAILABLE tried again up to three times.
    BalanceRetry,
    /// grpc-core, in R1 and R4 only.
    GrpcCore,
}

impl ClientKind {
    /// All that need nothing installed, ours first.
    pub const ALL: [Self; 3] = [Self::Holdfast, Self::Balance, Self::BalanceRetry];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holdfast => "holdfast",
            Self::Balance => "tonic-balance",
            Self::BalanceRetry => "tonic-balance+retry",
            Self::GrpcCore => "grpc-core",
        }
    }
}

/// The service config of every scenario: document A's policy with one attempt more, and which method
/// may run twice.
pub(super) const CONFIG: &str = r#"{"methodConfig": [
    {
        "name": [{"service": "scenario.Echo", "method": "Ping"}],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
        }
    },
    {
        "name": [{"service": "scenario.Echo", "method": "PingOnce"}],
        "retryPolicy": {
            "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"]
        }
    }
]}"#;

/// Which addresses there are: what DNS would say. Changes are seen by all clients.
pub(super) type Truth = watch::Sender<Vec<SocketAddr>>;

/// Answers what the truth is, good for a second.
struct Told(watch::Receiver<Vec<SocketAddr>>);

impl Resolve for Told {
    fn resolve(&self) -> Resolving {
        let addresses = self.0.borrow().iter().copied().map(Address::Ip).collect();
        let valid_for = Some(Duration::from_secs(1));
        Box::pin(async move { Ok(Resolved { addresses, valid_for }) })
    }
}

/// A client under test.
#[derive(Clone)]
pub(super) enum Caller {
    Holdfast(Channel),
    Balance {
        channel: transport::Channel,
        retries: Option<Arc<AtomicU64>>,
    },
    /// Makes its calls itself.
    Foreign {
        client: ForeignClient,
        servers: Vec<SocketAddr>,
        config: String,
    },
}

impl Caller {
    pub(super) fn new(
        kind: ClientKind,
        truth: &Truth,
        settings: &Settings,
    ) -> Result<Self, HarnessError> {
        Self::with_config(kind, truth, settings, CONFIG)
    }

    pub(super) fn with_config(
        kind: ClientKind,
        truth: &Truth,
        settings: &Settings,
        config: &str,
    ) -> Result<Self, HarnessError> {
        match kind {
            ClientKind::Holdfast => {
                let builder = Channel::builder("scenario:1").resolver(Told(truth.subscribe()));
                Self::built(builder.service_config(config).seed(settings.seed))
            }
            ClientKind::Balance => Ok(Self::Balance { channel: balance(truth), retries: None }),
            ClientKind::BalanceRetry => {
                Ok(Self::Balance { channel: balance(truth), retries: Some(Arc::default()) })
            }
            ClientKind::GrpcCore => {
                let hint = "run the oracle, which installs it";
                let missing = HarnessError::Missing { program: "grpc-core", hint };
                let client = settings.grpc_core.clone().ok_or(missing)?;
                let (servers, config) = (truth.borrow().clone(), config.to_owned());
                Ok(Self::Foreign { client, servers, config })
            }
        }
    }

    pub(super) fn built(builder: client::Builder) -> Result<Self, HarnessError> {
        let failed = |error: client::BuildError| HarnessError::Failed {
            what: "building the channel".to_owned(),
            output: error.to_string(),
        };
        // As the pair has it (requirement row A3); the servers here allow it.
        let builder = builder.keepalive(Duration::from_secs(10), Duration::from_secs(5));
        builder.keepalive_without_calls(true).build().map(Self::Holdfast).map_err(failed)
    }

    /// Waits until so many endpoints take calls. tonic's channel cannot tell, and needs none to start.
    pub(super) async fn ready(&self, count: usize) {
        if let Self::Holdfast(channel) = self {
            channel.until(|stats| stats.ready() >= count).await;
        }
    }

    /// How many endpoints take calls now. tonic's channel cannot tell.
    pub(super) fn ready_now(&self) -> Option<usize> {
        match self {
            Self::Holdfast(channel) => Some(channel.stats().ready()),
            Self::Balance { .. } | Self::Foreign { .. } => None,
        }
    }

    /// Attempts beyond each call's first, so far. A foreign client does not tell.
    pub(super) fn retries(&self) -> Option<u64> {
        match self {
            Self::Holdfast(channel) => {
                let stats = channel.stats();
                Some(stats.retries + stats.transparent_retries)
            }
            Self::Balance { retries, .. } => {
                Some(retries.as_ref().map_or(0, |retries| retries.load(Ordering::Relaxed)))
            }
            Self::Foreign { .. } => None,
        }
    }

    /// Our channel's own count of attempts that may have run.
    pub(super) fn ambiguous(&self) -> Option<u64> {
        match self {
            Self::Holdfast(channel) => Some(channel.stats().ambiguous),
            Self::Balance { .. } | Self::Foreign { .. } => None,
        }
    }

    pub(super) async fn ping(
        &self,
        method: &'static str,
        ping: Ping,
        timeout: Duration,
    ) -> Result<Ping, Status> {
        let answer = match self {
            Self::Holdfast(channel) => echo::ping(channel, method, ping, Some(timeout)).await?,
            Self::Balance { channel, retries } => {
                let within = async {
                    match retries {
                        None => echo::ping(channel, method, ping, Some(timeout)).await,
                        Some(count) => retried(channel, method, &ping, timeout, count).await,
                    }
                };
                let late = |_| Err(Status::deadline_exceeded("the caller's own timeout"));
                tokio::time::timeout(timeout, within).await.unwrap_or_else(late)?
            }
            Self::Foreign { .. } => return Err(foreign_only()),
        };
        Ok(answer.into_inner())
    }

    pub(super) async fn watch(&self) -> Result<tonic::Streaming<Ping>, Status> {
        match self {
            Self::Holdfast(channel) => echo::watch(channel, Ping::default()).await,
            Self::Balance { channel, .. } => echo::watch(channel, Ping::default()).await,
            Self::Foreign { .. } => Err(foreign_only()),
        }
    }
}

fn foreign_only() -> Status {
    Status::unimplemented("a foreign client makes its calls itself")
}

/// Requirement row A2: 100 ms · 2^(n-1), at most three tries more.
async fn retried(
    channel: &transport::Channel,
    method: &'static str,
    ping: &Ping,
    timeout: Duration,
    count: &AtomicU64,
) -> Result<tonic::Response<Ping>, Status> {
    let mut wait = Duration::from_millis(100);
    for _ in 0..3 {
        match echo::ping(channel, method, ping.clone(), Some(timeout)).await {
            Err(status) if status.code() == Code::Unavailable => {}
            answer => return answer,
        }
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    echo::ping(channel, method, ping.clone(), Some(timeout)).await
}

/// tonic's channel, told of every change at once, and with the keepalive that ours has.
fn balance(truth: &Truth) -> transport::Channel {
    let (channel, changes) = transport::Channel::balance_channel(64);
    let mut truth = truth.subscribe();
    truth.mark_changed();
    tokio::spawn(async move {
        let mut known: HashSet<SocketAddr> = HashSet::new();
        while truth.changed().await.is_ok() {
            let told: HashSet<_> = truth.borrow_and_update().iter().copied().collect();
            let gone = known.difference(&told).map(|address| Change::Remove(*address));
            let fresh = told.difference(&known).map(|address| {
                let endpoint = Endpoint::from_shared(format!("http://{address}"))
                    .expect("an address makes a URI")
                    .connect_timeout(Duration::from_secs(5))
                    .http2_keep_alive_interval(Duration::from_secs(10))
                    .keep_alive_timeout(Duration::from_secs(5));
                Change::Insert(*address, endpoint)
            });
            for change in gone.chain(fresh).collect::<Vec<_>>() {
                if changes.send(change).await.is_err() {
                    return;
                }
            }
            known = told;
        }
    });
    channel
}
