//! The name in a client certificate: its one URI among the subject's alternative names, as SPIFFE has it.
//!
//! Whether the certificate is to be believed was settled in the TLS handshake; here it is only read.

use std::sync::Arc;

use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Longest name, in bytes (SPIFFE-ID, 2.3).
const NAME_BYTES_MAX: usize = 2_048;

/// Why a certificate names nobody.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum NamelessError {
    #[error("the certificate cannot be read")]
    Unreadable,
    #[error("the certificate must have exactly one URI among its subject's alternative names")]
    NotOneUri,
    #[error("the caller's name must be a URI such as spiffe://domain/path")]
    NotSpiffe,
}

/// Reads the name from a certificate (DER).
pub(crate) fn name_in(der: &[u8]) -> Result<Arc<str>, NamelessError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NamelessError::Unreadable)?;
    let names = certificate.subject_alternative_name().map_err(|_| NamelessError::Unreadable)?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        Some(*uri)
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => spiffe(uri),
        (None, _) | (Some(_), Some(_)) => Err(NamelessError::NotOneUri),
    }
}

/// A name that can be one: of the SPIFFE scheme, with a trust domain, and of visible characters.
pub(super) fn spiffe(uri: &str) -> Result<Arc<str>, NamelessError> {
    let domain = uri.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
    let is_good = domain.is_some_and(|domain| !domain.is_empty())
        && uri.len() <= NAME_BYTES_MAX
        && uri.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(uri.into()) } else { Err(NamelessError::NotSpiffe) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[SanType]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    #[test]
    fn the_name_is_the_one_uri() {
        let other = SanType::DnsName("order-service".try_into().unwrap());
        let der = certificate(&[other, uri("spiffe://holdfast/order-service")]);
        assert_eq!(name_in(&der).as_deref(), Ok("spiffe://holdfast/order-service"));
    }

    #[test]
    fn a_certificate_of_no_or_of_two_names_names_nobody() {
        let two = [uri("spiffe://holdfast/a"), uri("spiffe://holdfast/b")];
        assert_eq!(name_in(&certificate(&two)), Err(NamelessError::NotOneUri));
        assert_eq!(name_in(&certificate(&[])), Err(NamelessError::NotOneUri));
        for wrong in ["https://holdfast/a", "spiffe://", "spiffe:///a", "SPIFFE://a/b"] {
            assert_eq!(name_in(&certificate(&[uri(wrong)])), Err(NamelessError::NotSpiffe));
        }
        assert_eq!(name_in(b"no certificate"), Err(NamelessError::Unreadable));
    }
}
