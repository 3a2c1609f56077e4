//! Target names (gRPC naming, grpc/grpc `doc/naming.md`) and what each stands for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::{Authority, Scheme};

use crate::resolve::{Address, Dns, Fixed, Joined, Resolve, ResolveError};

/// A parsed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Dns { server: Option<SocketAddr>, host: HostPort },
    Static(Vec<HostPort>),
    Unix(PathBuf),
    Http { scheme: Scheme, host: HostPort },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

/// Why a target is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The part before the colon names no scheme that the channel knows.
    #[error("unknown scheme {0:?}: dns, static, unix, http and https are known")]
    Scheme(String),
    /// Not `host:port`.
    #[error("{0:?} is not host:port")]
    HostPort(String),
    /// The part between `dns://` and `/` is no address of a name server.
    #[error("{0:?} is not a name server's ip:port")]
    NameServer(String),
    /// A Unix socket needs an absolute path.
    #[error("{0:?} is not an absolute path")]
    Path(String),
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        if let Some(rest) = text.strip_prefix("dns:") {
            return Self::parse_dns(rest);
        }
        if let Some(rest) = text.strip_prefix("static:") {
            let list = rest.trim_start_matches('/').split(',').map(HostPort::parse);
            return list.collect::<Result<_, _>>().map(Self::Static);
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let absolute = path.starts_with('/').then(|| Self::Unix(path.into()));
            return absolute.ok_or_else(|| TargetError::Path(path.to_owned()));
        }
        match text.split_once("://") {
            Some(("http", rest)) => Self::parse_http(Scheme::HTTP, rest),
            Some(("https", rest)) => Self::parse_http(Scheme::HTTPS, rest),
            Some((scheme, _)) => Err(TargetError::Scheme(scheme.to_owned())),
            None => Ok(Self::Dns { server: None, host: HostPort::parse(text)? }),
        }
    }

    fn parse_dns(rest: &str) -> Result<Self, TargetError> {
        let Some(rest) = rest.strip_prefix("//") else {
            return Ok(Self::Dns { server: None, host: HostPort::parse(rest)? });
        };
        let (server, host) = rest.split_once('/').unwrap_or(("", rest));
        let not_server = || TargetError::NameServer(server.to_owned());
        let parsed = (!server.is_empty()).then(|| server.parse().map_err(|_| not_server()));
        Ok(Self::Dns { server: parsed.transpose()?, host: HostPort::parse(host)? })
    }

    fn parse_http(scheme: Scheme, rest: &str) -> Result<Self, TargetError> {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let port = if scheme == Scheme::HTTPS { 443 } else { 80 };
        Ok(Self::Http { host: HostPort::parse_or(rest, Some(port))?, scheme })
    }

    /// What requests carry as `:authority`, unless the builder says otherwise.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Dns { host, .. } | Self::Http { host, .. } => host.text(),
            // One name: a list is no authority, and h2 refuses its comma.
            Self::Static(hosts) => hosts.first().map_or_else(String::new, HostPort::text),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        matches!(self, Self::Http { scheme, .. } if *scheme == Scheme::HTTPS)
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self, Self::Http { scheme, .. } if *scheme == Scheme::HTTP)
    }

    pub(crate) fn resolver(&self) -> Result<Arc<dyn Resolve>, ResolveError> {
        match self {
            Self::Dns { server: None, host } | Self::Http { host, .. } => host.resolver(),
            Self::Dns { server: Some(server), host } => {
                Ok(Arc::new(Dns::at(*server, &host.host, host.port)?))
            }
            Self::Static(hosts) => {
                let parts: Result<_, _> = hosts.iter().map(HostPort::resolver).collect();
                Ok(Arc::new(Joined::new(parts?)))
            }
            Self::Unix(path) => Ok(Arc::new(Fixed::new([Address::Unix(path.clone())]))),
        }
    }
}

impl HostPort {
    fn parse(text: &str) -> Result<Self, TargetError> {
        Self::parse_or(text, None)
    }

    fn parse_or(text: &str, default_port: Option<u16>) -> Result<Self, TargetError> {
        let bad = || TargetError::HostPort(text.to_owned());
        // An authority has the same form; a user name is none of ours.
        let authority: Authority = text.parse().map_err(|_| bad())?;
        let port = authority.port_u16().or(default_port).ok_or_else(bad)?;
        let host = authority.host();
        let plain = !host.is_empty() && !text.contains('@');
        plain.then(|| Self { host: host.to_owned(), port }).ok_or_else(bad)
    }

    fn text(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn resolver(&self) -> Result<Arc<dyn Resolve>, ResolveError> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(ip) => {
                let address = Address::Ip(SocketAddr::new(ip, self.port));
                Ok(Arc::new(Fixed::new([address])))
            }
            Err(_) => Ok(Arc::new(Dns::system(&self.host, self.port)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn every_documented_form_is_understood() {
        let dns = |server, name| Target::Dns { server, host: host(name, 50051) };
        let at = "10.0.0.10:53".parse().ok();
        let cases = [
            ("dns:///accounts:50051", dns(None, "accounts")),
            ("dns:accounts:50051", dns(None, "accounts")),
            ("accounts:50051", dns(None, "accounts")),
            ("dns:///[::1]:50051", dns(None, "[::1]")),
            ("dns://10.0.0.10:53/accounts:50051", dns(at, "accounts")),
            ("static:///a:1,b:2", Target::Static(vec![host("a", 1), host("b", 2)])),
            ("unix:///run/a.sock", Target::Unix("/run/a.sock".into())),
            ("unix:/run/a.sock", Target::Unix("/run/a.sock".into())),
            ("http://a", Target::Http { scheme: Scheme::HTTP, host: host("a", 80) }),
            ("https://a/", Target::Http { scheme: Scheme::HTTPS, host: host("a", 443) }),
        ];
        for (text, target) in cases {
            assert_eq!(Target::parse(text), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let bad = [
            "",
            "a",
            "dns:///",
            "dns:///a",
            "dns:///a:x",
            "dns:///a:70000",
            "dns://x/a:1",
            "static:///",
            "static:///a:1,",
            "unix:a",
            "ftp://a:1",
            "http://",
            "http://u@a:1",
            "dns:///a:1/b",
            ":1",
            "dns:///a b:1",
        ];
        for text in bad {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
