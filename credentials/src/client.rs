//! A client's credentials.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{Made, Recipe, Text, TlsError, Validity};

/// Where a client's credentials are. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// Whose servers are trusted.
    pub roots: Roots,
    /// What is shown to servers that ask for a certificate.
    pub identity: Option<Identity>,
    /// What they are called in metrics and logs.
    pub name: &'static str,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// Whose servers are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those that the operating system trusts, read once: an update of them comes with a restart.
    System,
    /// The issuers in this file.
    File(PathBuf),
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl FromStr for Roots {
    type Err = std::convert::Infallible;

    /// A path, or `system` as libpq has it. A file of that name is `./system`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "system" { Self::System } else { Self::File(text.into()) })
    }
}

impl Recipe for ClientFiles {
    type Product = ClientConfig;

    fn name(&self) -> &'static str {
        self.name
    }

    fn reload_interval(&self) -> Duration {
        self.reload_interval
    }

    fn paths(&self) -> Vec<PathBuf> {
        let roots = match &self.roots {
            Roots::System => None,
            Roots::File(path) => Some(path),
        };
        let identity =
            self.identity.iter().flat_map(|identity| [&identity.certificate, &identity.key]);
        roots.into_iter().chain(identity).cloned().collect()
    }

    fn make(&self, texts: &[Text<'_>]) -> Result<Made<ClientConfig>, TlsError> {
        let (roots, identity) = match &self.roots {
            Roots::System => (system_roots()?, texts),
            Roots::File(_) => (texts[0].roots()?, &texts[1..]),
        };
        let identity = match identity {
            [certificate, key] => Some((*certificate, *key)),
            _ => None,
        };
        client_config(roots, identity)
    }
}

/// A client's settings for HTTP/2. Sessions are not resumed: each connection looks at the server's certificate anew.
///
/// # Errors
/// When certificate and key are no pair.
pub fn client_config(
    roots: RootCertStore,
    identity: Option<(Text<'_>, Text<'_>)>,
) -> Result<Made<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Settings)?
        .with_root_certificates(roots);
    let (mut product, validity) = match identity {
        None => (builder.with_no_client_auth(), None),
        Some((certificate, key)) => {
            let chain = certificate.certificates()?;
            let validity = Validity::of_chain(&chain, &certificate)?;
            let paired = builder.with_client_auth_cert(chain, key.key()?);
            (paired.map_err(|source| certificate.no_pair(&key, source))?, Some(validity))
        }
    };
    product.alpn_protocols = vec![b"h2".to_vec()];
    product.resumption = Resumption::disabled();
    Ok(Made { product, validity, crl_next_update: None })
}

/// The operating system's trusted issuers: as many as can be used, one at least.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _odd) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let why: Vec<String> = found.errors.iter().map(|error| format!(": {error}")).collect();
    Err(TlsError::NoSystemRoots(why.concat()))
}
