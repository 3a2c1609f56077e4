//! Why credentials cannot be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem;
use tokio_rustls::rustls::server::VerifierBuilderError;

use crate::Validity;

/// Why credentials cannot be used. Names the file, or what was given instead of one.
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
    /// A text is not PEM, or broken.
    #[error("{text} is not PEM")]
    Pem {
        /// Which one.
        text: String,
        /// What is wrong.
        source: pem::Error,
    },
    /// A text lacks what belongs there.
    #[error("{text} holds no {what}")]
    Lacks {
        /// Which one.
        text: String,
        /// What belongs there.
        what: &'static str,
    },
    /// Something in a text is not what its PEM label says.
    #[error("{text} holds a broken {what}")]
    Broken {
        /// Which one.
        text: String,
        /// What it should be.
        what: &'static str,
    },
    /// A certificate cannot be a trusted issuer.
    #[error("{text} holds no usable issuer")]
    Issuer {
        /// Which one.
        text: String,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("{certificate} and {key} do not make a pair")]
    Pair {
        /// The certificate's text.
        certificate: String,
        /// The key's text.
        key: String,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Client certificates could not be verified.
    #[error("client certificates cannot be verified")]
    Verifier(#[from] VerifierBuilderError),
    /// A certificate is not valid now.
    #[error("{0}, and not now")]
    NotValidNow(Validity),
    /// The system's trusted issuers cannot be used.
    #[error("the system has no trusted issuers{0}")]
    NoSystemRoots(String),
    /// A server's name is neither a DNS name nor an IP address.
    #[error("server name {0:?} is neither a DNS name nor an IP address")]
    ServerName(String),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up")]
    Settings(#[source] rustls::Error),
}
