//! Whom to believe, as plain data.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

/// How callers are recognised. With both kinds of credential set up either will do; a call that sends a token is judged
/// by it, even where its connection has a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Bearer tokens; `None`: they are not looked at.
    pub tokens: Option<TokenConfig>,
    /// Client certificates; `None`: they name nobody.
    pub certificates: Option<CertificateConfig>,
    /// What each caller may do, besides what its token says: a JSON file.
    pub roles: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// Which tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The issuer's public keys: a JWK set (RFC 7517).
    pub jwks: PathBuf,
    /// What `iss` must be.
    pub issuer: String,
    /// What must be among `aud`.
    pub audience: String,
}

/// Which certificates are believed: those that the TLS handshake accepted, and what a proxy says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateConfig {
    /// `None`: no header is believed.
    pub forwarded: Option<Forwarded>,
}

/// A header in which a proxy names the caller whose certificate it has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `x-forwarded-client-cert` is read as Envoy writes it; any other is the caller's name alone, as
    /// `l5d-client-id` is.
    pub header: HeaderName,
    /// Only from these addresses; from others the header is as good as absent.
    pub peers: Vec<IpNet>,
}
