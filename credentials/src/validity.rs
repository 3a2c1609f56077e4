//! From when to when certificates are valid, and when a revocation list should have been replaced.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::{Text, TlsError};

/// When a certificate chain is valid: the time at which all of its certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The text that the chain is in.
    pub certificate: String,
    /// The latest of the beginnings.
    pub from: OffsetDateTime,
    /// The earliest of the ends.
    pub to: OffsetDateTime,
}

impl Validity {
    /// Of a chain, its first certificate at least.
    pub(crate) fn of_chain(
        chain: &[CertificateDer<'_>],
        text: &Text<'_>,
    ) -> Result<Self, TlsError> {
        let broken = || TlsError::Broken { text: text.name.to_owned(), what: "certificate" };
        let mut whole = None;
        for der in chain {
            let (_rest, certificate) = X509Certificate::from_der(der).map_err(|_| broken())?;
            let own = certificate.validity();
            let (from, to) = (own.not_before.to_datetime(), own.not_after.to_datetime());
            whole = Some(match whole {
                None => (from, to),
                Some((later, earlier)) => (from.max(later), to.min(earlier)),
            });
        }
        let (from, to) = whole.ok_or_else(broken)?;
        Ok(Self { certificate: text.name.to_owned(), from, to })
    }

    /// Whether it is valid at this time.
    pub fn includes(&self, now: OffsetDateTime) -> bool {
        (self.from..=self.to).contains(&now)
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (shown(self.from), shown(self.to));
        write!(formatter, "{} is valid from {from} to {to}", self.certificate)
    }
}

/// When the first of these lists should have been replaced. `None`: none of them says.
pub(crate) fn next_update(
    lists: &[CertificateRevocationListDer<'_>],
    text: &Text<'_>,
) -> Result<Option<OffsetDateTime>, TlsError> {
    let broken = |_| TlsError::Broken { text: text.name.to_owned(), what: "revocation list" };
    let mut earliest = None;
    for der in lists {
        let (_rest, list) = CertificateRevocationList::from_der(der).map_err(broken)?;
        let next = list.next_update().map(|time| time.to_datetime());
        earliest = [earliest, next].into_iter().flatten().min();
    }
    Ok(earliest)
}

pub(crate) fn shown(time: OffsetDateTime) -> String {
    // Years that RFC 3339 cannot write are shown as they are.
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// The system's clock, by which certificates are valid or not.
#[expect(
    clippy::disallowed_methods,
    reason = "rustls judges certificates by this clock, and so do we"
)]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
