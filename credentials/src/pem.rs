//! Reading PEM: certificates, keys, revocation lists.

use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
};
use tokio_rustls::rustls::{self, RootCertStore};

use crate::TlsError;

/// A PEM text and what to call it in errors.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    /// A path, or a description.
    pub name: &'a str,
    /// The text.
    pub pem: &'a [u8],
}

impl Text<'_> {
    fn broken(&self, source: pem::Error) -> TlsError {
        TlsError::Pem { text: self.name.to_owned(), source }
    }

    fn lacks(&self, what: &'static str) -> TlsError {
        TlsError::Lacks { text: self.name.to_owned(), what }
    }

    /// All certificates, one at least.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.all("certificate")
    }

    /// All revocation lists, one at least.
    pub(crate) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        self.all("revocation list")
    }

    /// The first private key.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(self.pem).map_err(|source| {
            let is_absent = matches!(source, pem::Error::NoItemsFound);
            if is_absent { self.lacks("private key") } else { self.broken(source) }
        })
    }

    /// All certificates as trusted issuers, one at least.
    ///
    /// # Errors
    /// When there is none, or one that cannot be trusted.
    pub fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for issuer in self.certificates()? {
            let refused = |source| TlsError::Issuer { text: self.name.to_owned(), source };
            roots.add(issuer).map_err(refused)?;
        }
        Ok(roots)
    }

    /// That this certificate does not go with this key.
    pub(crate) fn no_pair(&self, key: &Text<'_>, source: rustls::Error) -> TlsError {
        let (certificate, key) = (self.name.to_owned(), key.name.to_owned());
        TlsError::Pair { certificate, key, source }
    }

    fn all<T: PemObject>(&self, what: &'static str) -> Result<Vec<T>, TlsError> {
        let found: Vec<T> = T::pem_slice_iter(self.pem)
            .collect::<Result<_, _>>()
            .map_err(|source| self.broken(source))?;
        if found.is_empty() { Err(self.lacks(what)) } else { Ok(found) }
    }
}

/// A file's content.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
