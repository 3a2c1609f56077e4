//! Why no connection came about: what waiting may mend, and what only another setting will.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::{self, AlertDescription, InvalidMessage};

use super::facts::{Facts, Speaks};

/// Why the last try to connect to an endpoint failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// The endpoint's address and what happened.
    pub message: Arc<str>,
    /// Whether the two sides' settings contradict each other: a certificate that either refuses, TLS that
    /// only one of them speaks, a server that is none of HTTP/2. Waiting does not mend that.
    pub is_mismatch: bool,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connect failed: {0}")]
    Io(#[from] io::Error),
    #[error("TLS handshake failed: {0} (does it speak TLS?)")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    #[error("HTTP/2 handshake failed: {0}")]
    Http2(#[from] h2::Error),
    #[error("closed before it sent SETTINGS{}", if *.over_tls { "" } else { " (does it expect TLS?)" })]
    NoSettings { over_tls: bool },
    #[error("not connected within {0:?}")]
    Timeout(Duration),
}

/// How the two sides' settings contradict each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mismatch {
    #[error("its certificate is refused: {0}")]
    Theirs(#[source] rustls::Error),
    #[error("it refuses our certificate: {0}")]
    Ours(&'static str),
    #[error("it answers in plaintext, and this channel speaks TLS")]
    Plaintext,
    #[error("it speaks TLS, and this channel does not")]
    Tls,
    #[error("it speaks HTTP/1, not HTTP/2")]
    Http1,
    #[error("it does not offer HTTP/2 (ALPN h2)")]
    NoHttp2,
    #[error("no common TLS: {0}")]
    Incompatible(#[source] rustls::Error),
}

impl ConnectError {
    /// What a failed TLS handshake says.
    pub(super) fn of_tls(error: io::Error) -> Self {
        let why = match error.downcast::<rustls::Error>() {
            Ok(why) => why,
            Err(broken) => return Self::Tls(broken),
        };
        if let rustls::Error::AlertReceived(alert) = &why
            && let Some(mismatch) = Mismatch::of_alert(*alert)
        {
            return mismatch.into();
        }
        if matches!(why, rustls::Error::InvalidCertificate(_)) {
            return Mismatch::Theirs(why).into();
        }
        // The first bytes of another protocol are no TLS record.
        if matches!(why, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) {
            return Mismatch::Plaintext.into();
        }
        if matches!(why, rustls::Error::PeerIncompatible(_) | rustls::Error::AlertReceived(_)) {
            return Mismatch::Incompatible(why).into();
        }
        Self::Tls(io::Error::other(why))
    }

    /// What went by says more than the error that it led to: HTTP/2 knows nothing of TLS.
    pub(super) fn explained_by(self, facts: &Facts) -> Self {
        if let Some(mismatch) = facts.alert().and_then(Mismatch::of_alert) {
            return mismatch.into();
        }
        match facts.speaks() {
            Some(Speaks::Tls) => Mismatch::Tls.into(),
            Some(Speaks::Http1) => Mismatch::Http1.into(),
            None => self,
        }
    }

    pub(crate) fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch(_))
    }
}

impl Mismatch {
    /// What a server says of our certificate.
    fn of_alert(alert: AlertDescription) -> Option<Self> {
        let words = [
            (AlertDescription::CertificateRequired, "there is none"),
            (AlertDescription::CertificateExpired, "it has expired"),
            (AlertDescription::CertificateRevoked, "it is revoked"),
            (AlertDescription::UnknownCA, "its issuer is not trusted there"),
            (AlertDescription::BadCertificate, "it is bad"),
            (AlertDescription::CertificateUnknown, "it cannot be verified there"),
            (AlertDescription::UnsupportedCertificate, "it is of an unsupported kind"),
            (AlertDescription::AccessDenied, "it gives no access"),
        ];
        if alert == AlertDescription::NoApplicationProtocol {
            return Some(Self::NoHttp2);
        }
        words.into_iter().find(|(known, _)| *known == alert).map(|(_, words)| Self::Ours(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: rustls::Error) -> ConnectError {
        ConnectError::of_tls(io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn what_the_settings_contradict_is_told_from_what_may_pass() {
        let revoked = of(rustls::Error::AlertReceived(AlertDescription::CertificateRevoked));
        assert_eq!(revoked.to_string(), "it refuses our certificate: it is revoked");
        let theirs = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for error in [revoked, of(theirs)] {
            assert!(error.is_mismatch(), "{error}");
        }
        let broken = ConnectError::of_tls(io::ErrorKind::ConnectionReset.into());
        for error in [broken, ConnectError::NoSettings { over_tls: false }] {
            assert!(!error.is_mismatch() && error.to_string().ends_with("TLS?)"), "{error}");
        }
    }
}
