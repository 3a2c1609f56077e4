//! Addresses from DNS, with the records' time to live.
//!
//! Every address of the name is an endpoint, which is what a headless Kubernetes Service answers. The
//! two address families are looked up each on its own and joined ([`Joined`]): a name server that never
//! answers for one of them does not hold up the other. Answers are not cached here: the channel asks
//! when it wants to know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::{Address, Answers, Joined, Resolve, ResolveError, Resolved, Resolving};

/// Looks one host name up; the port is given.
#[derive(Clone)]
pub struct Dns(Joined);

/// One address family of a name.
#[derive(Clone)]
struct Family {
    host: Arc<str>,
    port: u16,
    resolver: Arc<TokioResolver>,
}

impl Dns {
    /// Asks the name servers that the system is set up with, search domains and hosts file included.
    pub fn system(host: &str, port: u16) -> Result<Self, ResolveError> {
        Self::with(host, port, TokioResolver::builder_tokio)
    }

    /// Asks one name server, as `dns://server:53/host:port` targets do.
    pub fn at(server: SocketAddr, host: &str, port: u16) -> Result<Self, ResolveError> {
        let mut udp = ConnectionConfig::udp();
        let mut tcp = ConnectionConfig::tcp();
        (udp.port, tcp.port) = (server.port(), server.port());
        let name_server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let provider = TokioRuntimeProvider::default;
        Self::with(host, port, || {
            Ok(TokioResolver::builder_with_config(config.clone(), provider()))
        })
    }

    fn with(
        host: &str,
        port: u16,
        builder: impl Fn() -> Result<ResolverBuilder<TokioRuntimeProvider>, NetError>,
    ) -> Result<Self, ResolveError> {
        let family = |strategy| {
            let built = builder().and_then(|mut builder| {
                builder.options_mut().cache_size = 0;
                builder.options_mut().ip_strategy = strategy;
                builder.build()
            });
            let resolver = Arc::new(built.map_err(|error| lookup_error(host, error))?);
            Ok(Arc::new(Family { host: host.into(), port, resolver }) as Arc<dyn Resolve>)
        };
        let v4 = family(LookupIpStrategy::Ipv4Only)?;
        let v6 = family(LookupIpStrategy::Ipv6Only)?;
        Ok(Self(Joined::new(vec![v4, v6])))
    }
}

impl Resolve for Dns {
    fn resolve(&self) -> Resolving {
        self.0.resolve()
    }

    fn answers(&self) -> Answers {
        self.0.answers()
    }
}

impl Resolve for Family {
    fn resolve(&self) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let empty = || ResolveError::Empty(this.host.to_string());
            let found = match this.resolver.lookup_ip(&*this.host).await {
                Ok(found) => found,
                Err(error) if error.is_no_records_found() => return Err(empty()),
                Err(error) => return Err(lookup_error(&this.host, error)),
            };
            let address = |ip: IpAddr| Address::Ip(SocketAddr::new(ip, this.port));
            let addresses: Vec<_> = found.iter().map(address).collect();
            if addresses.is_empty() {
                return Err(empty());
            }
            let valid_for = found.valid_until().saturating_duration_since(Instant::now());
            Ok(Resolved { addresses, valid_for: Some(valid_for) })
        })
    }
}

fn lookup_error(name: &str, error: NetError) -> ResolveError {
    ResolveError::Lookup { name: name.to_owned(), source: Arc::new(error) }
}
