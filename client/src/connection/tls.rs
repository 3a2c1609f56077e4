//! TLS towards the endpoints, with rustls. Off unless asked for.

use credentials::{ClientFiles, InForce, Text, TlsError, client_config};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::failure::{ConnectError, Mismatch};
use super::transport::Io;

/// TLS settings of a channel: whom to trust, who we are, whom to expect.
///
/// Whom to trust is always said: a cluster has its own authority, and a channel that trusts the whole
/// web by default would be a surprise.
#[derive(Clone, Debug)]
pub struct Tls {
    source: Source,
    server_name: Option<String>,
}

#[derive(Clone, Debug)]
enum Source {
    Texts { ca_pem: Vec<u8>, identity_pem: Option<(Vec<u8>, Vec<u8>)> },
    Watched(Credentials),
}

/// Credentials from files that are read again when they change: new connections use the new ones, those
/// that exist live on. Clones share them; several channels may.
///
/// What cannot work is logged with its path and leaves the former files in force.
#[derive(Clone, Debug)]
pub struct Credentials(InForce<ClientConfig>);

impl Credentials {
    /// Reads the files, and keeps looking at them as long as a clone lives. To be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn watch(files: ClientFiles) -> Result<Self, TlsError> {
        let (in_force, reloader) = credentials::load(files)?;
        tokio::spawn(reloader.run());
        Ok(Self(in_force))
    }

    /// Waits until others are in force than when this was last asked, or made.
    pub async fn changed(&mut self) {
        self.0.changed().await;
    }
}

impl Tls {
    /// Trusts servers whose certificates these authorities (PEM, one or more) have signed.
    pub fn new(ca_pem: impl Into<Vec<u8>>) -> Self {
        let source = Source::Texts { ca_pem: ca_pem.into(), identity_pem: None };
        Self { source, server_name: None }
    }

    /// Takes whom to trust and what to show from files, now and when they change.
    pub fn watched(credentials: Credentials) -> Self {
        Self { source: Source::Watched(credentials), server_name: None }
    }

    /// Shows this certificate chain and proves it with this key (both PEM) when a server asks.
    /// Credentials from files have their own, which stays.
    #[must_use]
    pub fn identity(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        if let Source::Texts { identity_pem, .. } = &mut self.source {
            *identity_pem = Some((chain_pem.into(), key_pem.into()));
        }
        self
    }

    /// The name to expect in certificates. Default: the host of the channel's authority.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(crate) fn client(&self, default_name: &str) -> Result<TlsClient, TlsError> {
        let name = self.server_name.as_deref().unwrap_or(default_name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::ServerName(name.to_owned()))?;
        Ok(TlsClient { settings: self.source.settings()?, name })
    }
}

impl Source {
    fn settings(&self) -> Result<InForce<ClientConfig>, TlsError> {
        let (ca_pem, identity_pem) = match self {
            Self::Watched(Credentials(in_force)) => return Ok(in_force.clone()),
            Self::Texts { ca_pem, identity_pem } => (ca_pem, identity_pem),
        };
        let roots = Text { name: "the CA text", pem: ca_pem }.roots()?;
        let identity = identity_pem.as_ref().map(|(chain, key)| {
            let certificate = Text { name: "the certificate text", pem: chain };
            (certificate, Text { name: "the key text", pem: key })
        });
        Ok(InForce::fixed(client_config(roots, identity)?.product))
    }
}

/// Settings made ready.
#[derive(Clone)]
pub(crate) struct TlsClient {
    settings: InForce<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsClient {
    /// The handshake, with what is in force now. A server that does not agree on HTTP/2 is none of ours.
    pub(super) async fn wrap(&self, io: Box<dyn Io>) -> Result<Box<dyn Io>, ConnectError> {
        let connector = TlsConnector::from(self.settings.now());
        let connected = connector.connect(self.name.clone(), io).await;
        let stream = connected.map_err(ConnectError::of_tls)?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Mismatch::NoHttp2.into());
        }
        Ok(Box::new(stream))
    }
}
