//! TLS towards the endpoints, with rustls. Off unless asked for.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem,
};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto};

use super::transport::Io;

/// TLS settings of a channel: whom to trust, who we are, whom to expect.
///
/// The certificates to trust are always given: a cluster has its own authority, and a channel that
/// trusts the whole web by default would be a surprise.
#[derive(Clone, Debug)]
pub struct Tls {
    ca_pem: Vec<u8>,
    identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

/// Why TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM text has no certificate or key, or a broken one.
    #[error("{what}: {source}")]
    Pem {
        /// Which of the texts.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no certificate to trust.
    #[error("the CA text holds no certificate")]
    NoCa,
    /// rustls refuses the certificates or the key.
    #[error(transparent)]
    Rejected(#[from] rustls::Error),
    /// The server's name is neither a DNS name nor an IP address.
    #[error("server name {name:?}: {source}")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: InvalidDnsNameError,
    },
}

impl Tls {
    /// Trusts servers whose certificates these authorities (PEM, one or more) have signed.
    pub fn new(ca_pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_pem: ca_pem.into(), identity_pem: None, server_name: None }
    }

    /// Shows this certificate chain and proves it with this key (both PEM) when a server asks.
    #[must_use]
    pub fn identity(mut self, chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.identity_pem = Some((chain_pem.into(), key_pem.into()));
        self
    }

    /// The name to expect in certificates. Default: the host of the channel's authority.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(crate) fn client(&self, default_name: &str) -> Result<TlsClient, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("CA", &self.ca_pem)? {
            roots.add(certificate)?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoCa);
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match &self.identity_pem {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates("client certificate", chain)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|source| TlsError::Pem { what: "client key", source })?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = self.server_name.as_deref().unwrap_or(default_name);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|source| TlsError::ServerName { name: name.to_owned(), source })?;
        Ok(TlsClient { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

/// Settings made ready.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    /// The handshake. A server that does not agree on HTTP/2 is none of ours.
    pub(super) async fn wrap(&self, io: Box<dyn Io>) -> io::Result<Box<dyn Io>> {
        let stream = self.connector.connect(self.name.clone(), io).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server does not offer HTTP/2 (ALPN h2)"));
        }
        Ok(Box::new(stream))
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })
}
