//! Flags that say how callers are recognised, and where to listen when they are not.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::HeaderName;
use ipnet::IpNet;

use super::judge::{DAY, Judge, TICK};
use crate::auth::{AuthConfig, CertificateConfig, Forwarded, TokenConfig};

/// The flags as typed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Callers")]
pub(super) struct AuthArgs {
    /// How callers are recognised: jwt (a bearer token), mtls (a client certificate with a SPIFFE URI), both
    /// (either), or off: anybody may do everything, so gRPC is served on loopback only
    #[arg(long, env = "AUTH", value_name = "MODE", default_value = "off")]
    auth: String,
    /// Serve everybody who reaches the port, on any address, with --auth off
    #[arg(
        long,
        env = "AUTH_INSECURE_LISTEN",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    auth_insecure_listen: bool,
    /// Public keys of the issuer of tokens, a JWK set (ES256, EdDSA, RS256)
    #[arg(long, env = "AUTH_JWKS", value_name = "FILE")]
    auth_jwks: Option<PathBuf>,
    /// The issuer of tokens: what their `iss` must be
    #[arg(long, env = "AUTH_ISSUER", value_name = "ISSUER")]
    auth_issuer: Option<String>,
    /// What must be among the `aud` of tokens
    #[arg(long, env = "AUTH_AUDIENCE", value_name = "AUDIENCE")]
    auth_audience: Option<String>,
    /// What each caller may do, besides what its token says, JSON:
    /// {"callers":[{"certificate":"spiffe://…","rights":["ledger:settle"]},{"subject":"alice","rights":["orders:own"],"accounts":[7]}]}
    #[arg(long, env = "AUTH_ROLES", value_name = "FILE")]
    auth_roles: Option<PathBuf>,
    /// Interval of looking whether these files have changed
    #[arg(long, env = "AUTH_RELOAD_INTERVAL", value_name = "TIME", default_value = "10s")]
    auth_reload_interval: String,
    /// Header in which a proxy names the caller whose certificate it checked: x-forwarded-client-cert, as Envoy writes
    /// it, or one that holds the name alone, such as l5d-client-id
    #[arg(long, env = "AUTH_TRUSTED_HEADER", value_name = "NAME")]
    auth_trusted_header: Option<String>,
    /// Addresses of the proxies whose header is believed, such as 127.0.0.1/32 for a sidecar; from others it is ignored.
    /// Any process at these addresses can call as any caller: name the proxies alone, never a network of pods
    #[arg(long, env = "AUTH_TRUSTED_PEERS", value_name = "CIDR,…")]
    auth_trusted_peers: Option<String>,
}

/// Which credentials count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Jwt,
    Mtls,
    Both,
}

impl AuthArgs {
    /// How callers are recognised, and where to listen.
    pub(super) fn validate(
        self,
        listen: (Option<&str>, Option<&str>),
        default: SocketAddr,
        has_client_ca: bool,
        judge: &mut Judge<'_>,
    ) -> (Option<AuthConfig>, SocketAddr, Option<SocketAddr>) {
        let reload_interval =
            judge.time("--auth-reload-interval", &self.auth_reload_interval, TICK..=DAY);
        let mode = judge.problems.parse("--auth", &self.auth, mode).unwrap_or(Mode::Off);
        let (listen, admin_grpc) = (
            self.listen(mode, listen.0, default, judge),
            self.listen_for_administrators(mode, listen.1, judge),
        );
        if mode != Mode::Off && self.auth_insecure_listen {
            judge.problems.add("--auth-insecure-listen", "is for --auth off alone");
        }
        self.refuse_what_has_no_effect(mode, judge);
        let config = self.config(mode, has_client_ca, reload_interval, judge);
        (config, listen, admin_grpc)
    }

    /// Loopback by default while anybody may do everything; every address otherwise.
    fn listen(
        &self,
        mode: Mode,
        listen: Option<&str>,
        default: SocketAddr,
        judge: &mut Judge<'_>,
    ) -> SocketAddr {
        let is_open = self.is_open(mode);
        let anywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), default.port());
        let default = if is_open { default } else { anywhere };
        let listen = judge.address("--listen", listen, default);
        if is_open {
            want_loopback("--listen", listen, judge);
        }
        listen
    }

    fn listen_for_administrators(
        &self,
        mode: Mode,
        listen: Option<&str>,
        judge: &mut Judge<'_>,
    ) -> Option<SocketAddr> {
        let flag = "--admin-grpc-listen";
        let listen = judge.optional_address(flag, listen)?;
        if self.is_open(mode) {
            want_loopback(flag, listen, judge);
        }
        Some(listen)
    }

    /// Anybody may do everything, and that this is wanted was not said.
    fn is_open(&self, mode: Mode) -> bool {
        mode == Mode::Off && !self.auth_insecure_listen
    }

    /// A flag that is set and does nothing would let its operator believe otherwise.
    fn refuse_what_has_no_effect(&self, mode: Mode, judge: &mut Judge<'_>) {
        let mut refuse = |flag: &str, is_set: bool, modes: &str| {
            if is_set {
                judge.problems.add(flag, format_args!("has no effect without --auth {modes}"));
            }
        };
        if !mode.takes_tokens() {
            refuse("--auth-jwks", self.auth_jwks.is_some(), "jwt or both");
            refuse("--auth-issuer", self.auth_issuer.is_some(), "jwt or both");
            refuse("--auth-audience", self.auth_audience.is_some(), "jwt or both");
        }
        if !mode.takes_certificates() {
            refuse("--auth-trusted-header", self.auth_trusted_header.is_some(), "mtls or both");
            refuse("--auth-trusted-peers", self.auth_trusted_peers.is_some(), "mtls or both");
        }
        if mode == Mode::Off {
            refuse("--auth-roles", self.auth_roles.is_some(), "jwt, mtls or both");
        }
    }

    fn config(
        self,
        mode: Mode,
        has_client_ca: bool,
        reload_interval: Duration,
        judge: &mut Judge<'_>,
    ) -> Option<AuthConfig> {
        if mode == Mode::Off {
            return None;
        }
        let tokens = mode.takes_tokens().then(|| {
            let jwks = needed("--auth-jwks", self.auth_jwks, "jwt or both", judge);
            let issuer = needed("--auth-issuer", self.auth_issuer, "jwt or both", judge);
            let audience = needed("--auth-audience", self.auth_audience, "jwt or both", judge);
            TokenConfig { jwks, issuer, audience }
        });
        let certificates = mode.takes_certificates().then(|| {
            let forwarded = forwarded(self.auth_trusted_header, self.auth_trusted_peers, judge);
            if !has_client_ca && forwarded.is_none() {
                let why = "mtls and both need --tls-client-ca, or --auth-trusted-header";
                judge.problems.add("--auth", why);
            }
            // A certificate says who, and nothing of what.
            needed("--auth-roles", self.auth_roles.clone(), "mtls or both", judge);
            CertificateConfig { forwarded }
        });
        Some(AuthConfig { tokens, certificates, roles: self.auth_roles, reload_interval })
    }
}

impl Mode {
    fn takes_tokens(self) -> bool {
        matches!(self, Self::Jwt | Self::Both)
    }

    fn takes_certificates(self) -> bool {
        matches!(self, Self::Mtls | Self::Both)
    }
}

fn want_loopback(flag: &str, listen: SocketAddr, judge: &mut Judge<'_>) {
    if !listen.ip().to_canonical().is_loopback() {
        let why = format_args!(
            "{listen} is not loopback, and with --auth off anybody who reaches it may do everything: set --auth, or \
             --auth-insecure-listen if that is wanted"
        );
        judge.problems.add(flag, why);
    }
}

fn mode(raw: &str) -> Result<Mode, &'static str> {
    match raw {
        "off" => Ok(Mode::Off),
        "jwt" => Ok(Mode::Jwt),
        "mtls" => Ok(Mode::Mtls),
        "both" => Ok(Mode::Both),
        _ => Err("is none of off, jwt, mtls and both"),
    }
}

/// The value, or its default after a problem.
fn needed<T: Default>(flag: &str, value: Option<T>, modes: &str, judge: &mut Judge<'_>) -> T {
    if value.is_none() {
        judge.problems.add(flag, format_args!("is missing: --auth {modes} needs it"));
    }
    value.unwrap_or_default()
}

fn forwarded(
    header: Option<String>,
    peers: Option<String>,
    judge: &mut Judge<'_>,
) -> Option<Forwarded> {
    match (header, peers) {
        (None, None) => None,
        (Some(header), Some(peers)) => {
            let header = judge.problems.parse("--auth-trusted-header", &header, header_name);
            let peers = judge.problems.parse("--auth-trusted-peers", &peers, networks);
            Some(Forwarded { header: header?, peers: peers? })
        }
        (Some(_), None) => {
            missing("--auth-trusted-peers", "--auth-trusted-header", judge);
            None
        }
        (None, Some(_)) => {
            missing("--auth-trusted-header", "--auth-trusted-peers", judge);
            None
        }
    }
}

fn missing(flag: &str, other: impl Display, judge: &mut Judge<'_>) {
    judge.problems.add(flag, format_args!("is missing: {other} needs it"));
}

fn header_name(raw: &str) -> Result<HeaderName, &'static str> {
    raw.parse().map_err(|_| "is not the name of a header")
}

fn networks(raw: &str) -> Result<Vec<IpNet>, &'static str> {
    let networks: Result<_, _> = raw.split(',').map(|network| network.trim().parse()).collect();
    let networks: Vec<IpNet> =
        networks.map_err(|_| "is not a list of networks such as 127.0.0.1/32,::1/128")?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        return Err("believes the header from everywhere, so anybody could call as anybody");
    }
    Ok(networks)
}
