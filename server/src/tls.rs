//! TLS and mutual TLS, with certificates that are read again when their files change.
//!
//! Files are compared by content, not by time or inode: Kubernetes replaces mounted secrets by
//! moving a symbolic link. A change that does not parse, or a key that does not match, is logged
//! and leaves the certificates in force; new connections get whatever is in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

/// Where the certificates are. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// This server's certificate, followed by its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Issuers of client certificates. When set, clients without a certificate of theirs are
    /// refused in the handshake.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without a certificate may come in all the same, since they show who they are another way.
    pub client_may_be_nameless: bool,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not PEM with what belongs there", path = .path.display())]
    Pem {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
    /// The issuers of client certificates cannot be used.
    #[error("issuers of client certificates cannot be used")]
    ClientCa(#[source] VerifierBuilderError),
}

/// The certificates in force.
#[derive(Debug)]
pub(crate) struct Tls {
    files: TlsFiles,
    in_force: watch::Sender<Arc<ServerConfig>>,
}

impl Tls {
    pub(crate) fn load(files: TlsFiles) -> Result<(Arc<Self>, Contents), TlsError> {
        let contents = Contents::read(&files)?;
        let in_force = watch::Sender::new(Arc::new(contents.config(&files)?));
        Ok((Arc::new(Self { files, in_force }), contents))
    }

    /// An acceptor with the certificates in force now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.in_force.borrow().clone())
    }

    /// Looks at the files for ever.
    pub(crate) async fn keep_reloading(self: Arc<Self>, mut seen: Contents) {
        let mut ticks = interval(self.files.reload_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (files, before) = (self.files.clone(), seen.clone());
            // Reading files blocks. A failed task would be a panic: then nothing has changed.
            let read = tokio::task::spawn_blocking(move || Contents::changed(&files, &before));
            match read.await {
                Ok(Ok(Some((contents, config)))) => {
                    tracing::info!("certificates have changed and are in force");
                    self.in_force.send_replace(Arc::new(config));
                    seen = contents;
                }
                Ok(Ok(None)) => {}
                Ok(Err(why)) => tracing::error!(
                    error = &why as &dyn std::error::Error,
                    "changed certificates cannot be used; the former stay in force"
                ),
                Err(why) => tracing::error!(%why, "reading the certificates failed"),
            }
        }
    }
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// The contents and their configuration, unless they are as before.
    fn changed(files: &TlsFiles, before: &Self) -> Result<Option<(Self, ServerConfig)>, TlsError> {
        let contents = Self::read(files)?;
        if contents == *before {
            return Ok(None);
        }
        let config = contents.config(files)?;
        Ok(Some((contents, config)))
    }

    fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for issuer in certificates(pem, path)? {
                    roots.add(issuer).map_err(TlsError::Pair)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match files.client_may_be_nameless {
                    true => verifier.allow_unauthenticated(),
                    false => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::ClientCa)?)
            }
            (None, _) | (_, None) => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| TlsError::Pem { path: files.key.clone(), source })?;
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl std::fmt::Debug for Contents {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Contents")
    }
}

fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, TlsError> {
    let path = path.as_ref();
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { path: path.to_owned(), source };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(failed)?;
    match found.is_empty() {
        true => Err(failed(pem::Error::NoItemsFound)),
        false => Ok(found),
    }
}
