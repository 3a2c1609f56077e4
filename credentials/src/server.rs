//! A server's credentials.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use crate::validity::next_update;
use crate::{Made, Recipe, Text, TlsError, Validity};

/// Where a server's credentials are. All files are PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// This server's certificate, followed by its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Issuers of client certificates. When set, clients without a certificate of theirs are
    /// refused in the handshake.
    pub client_ca: Option<PathBuf>,
    /// Revocation lists, one for each issuer of client certificates and of their intermediates:
    /// a client whose issuer has none here is refused. A list that should have been replaced by
    /// now stays in force: what it revokes stays revoked, and nobody else is turned away.
    pub client_crl: Option<PathBuf>,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

impl Recipe for ServerFiles {
    type Product = ServerConfig;

    fn name(&self) -> &'static str {
        "server"
    }

    fn reload_interval(&self) -> Duration {
        self.reload_interval
    }

    fn paths(&self) -> Vec<PathBuf> {
        let always = [&self.certificate, &self.key];
        always.into_iter().chain(&self.client_ca).chain(&self.client_crl).cloned().collect()
    }

    fn make(&self, texts: &[Text<'_>]) -> Result<Made<ServerConfig>, TlsError> {
        let [certificate, key, others @ ..] = texts else { unreachable!("as many texts as paths") };
        let chain = certificate.certificates()?;
        let validity = Validity::of_chain(&chain, certificate)?;
        let (verifier, crl_next_update) = self.verifier(others)?;

        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Settings)?;
        let is_mutual = verifier.is_some();
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let paired = builder.with_single_cert(chain, key.key()?);
        let mut product = paired.map_err(|source| certificate.no_pair(key, source))?;
        product.alpn_protocols = vec![b"h2".to_vec()];
        if is_mutual {
            // A client whose certificate has expired meanwhile must not come back on its session.
            product.session_storage = Arc::new(NoServerSessionStorage {});
            product.send_tls13_tickets = 0;
        }
        Ok(Made { product, validity: Some(validity), crl_next_update })
    }
}

type Verifier = (Option<Arc<dyn ClientCertVerifier>>, Option<OffsetDateTime>);

impl ServerFiles {
    /// Who verifies clients, if somebody does, and when its revocation lists should be replaced.
    fn verifier(&self, texts: &[Text<'_>]) -> Result<Verifier, TlsError> {
        let (ca, crl) = match texts {
            [] => return Ok((None, None)),
            [ca, crl @ ..] => (ca, crl.first()),
        };
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(ca.roots()?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let Some(crl) = crl else { return Ok((Some(builder.build()?), None)) };

        let lists = crl.revocation_lists()?;
        let next = next_update(&lists, crl)?;
        Ok((Some(builder.with_crls(lists).build()?), next))
    }
}
