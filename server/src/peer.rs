//! Who is at the other end of a connection, as its TLS handshake proved.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The certificate that the client of this connection proved to hold, in the extensions of each of
/// its requests.
///
/// It was issued by one of `--tls-client-ca`, was valid and not revoked when the connection began,
/// and the client has its private key. Absent on a plaintext connection and where no client CA is
/// set, since the client is not asked for a certificate then.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate(Arc<[CertificateDer<'static>]>);

impl PeerCertificate {
    /// What the handshake proved, if it asked for a certificate.
    pub(crate) fn of(connection: &ServerConnection) -> Option<Self> {
        connection.peer_certificates().filter(|chain| !chain.is_empty()).map(Self::from_chain)
    }

    fn from_chain(chain: &[CertificateDer<'_>]) -> Self {
        Self(chain.iter().cloned().map(CertificateDer::into_owned).collect())
    }

    /// The client's own certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0[0]
    }

    /// The chain as the client sent it: its own certificate, then issuers, if it sent any.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

impl fmt::Debug for PeerCertificate {
    /// Without the bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PeerCertificate({} in chain)", self.0.len())
    }
}
