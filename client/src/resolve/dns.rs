//! Addresses from DNS, with the records' time to live.
//!
//! Every address of the name is an endpoint, which is what a headless Kubernetes Service answers.
//! Answers are not cached here: the channel asks when it wants to know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::{Address, Resolve, ResolveError, Resolved, Resolving};

/// Looks one host name up; the port is given.
#[derive(Clone)]
pub struct Dns {
    host: Arc<str>,
    port: u16,
    resolver: Arc<TokioResolver>,
}

impl Dns {
    /// Asks the name servers that the system is set up with, search domains and hosts file included.
    pub fn system(host: &str, port: u16) -> Result<Self, ResolveError> {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            builder.options_mut().cache_size = 0;
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        Self::with(host, port, built)
    }

    /// Asks one name server, as `dns://server:53/host:port` targets do.
    pub fn at(server: SocketAddr, host: &str, port: u16) -> Result<Self, ResolveError> {
        let mut udp = ConnectionConfig::udp();
        let mut tcp = ConnectionConfig::tcp();
        (udp.port, tcp.port) = (server.port(), server.port());
        let name_server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().cache_size = 0;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Self::with(host, port, builder.build())
    }

    fn with(
        host: &str,
        port: u16,
        resolver: Result<TokioResolver, NetError>,
    ) -> Result<Self, ResolveError> {
        let resolver = resolver.map_err(|error| lookup_error(host, error))?;
        Ok(Self { host: host.into(), port, resolver: Arc::new(resolver) })
    }
}

impl Resolve for Dns {
    fn resolve(&self) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.resolver.lookup_ip(&*this.host).await;
            let found = found.map_err(|error| lookup_error(&this.host, error))?;
            let address = |ip: IpAddr| Address::Ip(SocketAddr::new(ip, this.port));
            let addresses: Vec<_> = found.iter().map(address).collect();
            if addresses.is_empty() {
                return Err(ResolveError::Empty(this.host.to_string()));
            }
            let valid_for = found.valid_until().saturating_duration_since(Instant::now());
            Ok(Resolved { addresses, valid_for: Some(valid_for) })
        })
    }
}

fn lookup_error(name: &str, error: NetError) -> ResolveError {
    ResolveError::Lookup { name: name.to_owned(), source: Arc::new(error) }
}
