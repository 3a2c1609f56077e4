//! From a name to addresses.
//!
//! [`Resolve`] answers one question once; when to ask again is the channel's business
//! ([`discovery`](self)): as the answer's validity says, at once when an endpoint is lost or says
//! GOAWAY, never more often than a bounded rate. A resolver that fails or finds nothing changes
//! nothing: the last good addresses stay. An answer that is complete only in part is used as it is, and
//! the rest when it comes ([`Resolve::answers`]).

mod discovery;
mod dns;
mod fixed;
mod joined;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;

pub(crate) use self::discovery::{Discovery, Refresh};
pub use self::dns::Dns;
pub use self::fixed::Fixed;
pub(crate) use self::joined::Joined;

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// TCP.
    Ip(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One answer of a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// In the resolver's order of preference. Repeats are dropped.
    pub addresses: Vec<Address>,
    /// How long the answer holds, such as a DNS record's TTL. Absent: the channel's refresh interval.
    pub valid_for: Option<Duration>,
}

/// Why a name gave no addresses.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveError {
    /// The lookup failed.
    #[error("resolving {name} failed: {source}")]
    Lookup {
        /// What was looked up.
        name: String,
        /// What the resolver said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The lookup went well and found no address.
    #[error("{0} has no address")]
    Empty(String),
    /// No answer in time.
    #[error("no answer from the resolver within {0:?}")]
    Timeout(Duration),
}

/// What [`Resolve::resolve`] answers.
pub type Resolving = Pin<Box<dyn Future<Output = Result<Resolved, ResolveError>> + Send>>;

/// What [`Resolve::answers`] answers.
pub type Answers = Pin<Box<dyn Stream<Item = Result<Resolved, ResolveError>> + Send>>;

/// A source of addresses.
pub trait Resolve: Send + Sync + 'static {
    /// Looks the addresses up once. The channel drops the future after its resolver timeout.
    fn resolve(&self) -> Resolving;

    /// Looks them up once and answers as soon as there is something to use, then again, whole, when more
    /// is known. One answer, unless a source can do better. The first has to come within the channel's
    /// resolver timeout; later ones are waited for until then or until the next lookup is due.
    fn answers(&self) -> Answers {
        Box::pin(futures_util::stream::once(self.resolve()))
    }
}
