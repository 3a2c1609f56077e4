//! Certificate authorities for tests: they issue, let expire, and revoke.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::HarnessError;

/// Backdated, so that a clock that is a little off sees it as valid.
const BEFORE: Duration = Duration::hours(1);

/// An authority. No two have the same name, so that none is taken for another.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate, its key, and what an authority needs to revoke it.
#[derive(Debug)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
    serial: u64,
}

/// A certificate and its key as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    #[expect(clippy::new_without_default, reason = "each is another")]
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", next_number()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("ring makes keys");
        let pem = params.self_signed(&key).expect("the parameters are complete").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names, valid for a day: DNS names, IP addresses, and URIs such as `spiffe://domain/name`.
    /// The first is its common name too.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, now() + Duration::days(1))
    }

    /// As [`Authority::issue`], valid until a second ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_until(names, now() - Duration::seconds(1))
    }

    /// As [`Authority::issue`], valid until then.
    #[must_use]
    pub fn issue_until(&self, names: &[&str], until: OffsetDateTime) -> Issued {
        let (uris, others): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| name.contains("://"));
        let others: Vec<String> = others.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(others).expect("names of tests are ASCII");
        for uri in uris {
            params.subject_alt_names.push(SanType::URI(uri.try_into().expect("ASCII")));
        }
        let common_name = names.first().copied().unwrap_or_default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let serial = next_number();
        params.serial_number = Some(SerialNumber::from(serial));
        (params.not_before, params.not_after) = (now() - BEFORE, until);

        let key = KeyPair::generate().expect("ring makes keys");
        let signed = params.signed_by(&key, &self.issuer).expect("the parameters are complete");
        Issued { certificate: signed.pem(), key: key.serialize_pem(), serial }
    }

    /// A list that revokes these, PEM, to be replaced tomorrow.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Issued]) -> String {
        self.revoke_until(revoked, now() + Duration::days(1))
    }

    /// As [`Authority::revoke`], to be replaced by then.
    #[must_use]
    pub fn revoke_until(&self, revoked: &[&Issued], next_update: OffsetDateTime) -> String {
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: SerialNumber::from(issued.serial),
            revocation_time: now() - BEFORE,
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: now() - BEFORE,
            next_update,
            crl_number: SerialNumber::from(next_number()),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("the parameters are complete");
        signed.pem().expect("DER is written as PEM")
    }
}

impl Issued {
    /// Writes both as `<name>.pem` and `<name>.key` into a directory, over what was there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, directory: &Path, name: &str) -> Result<Pair, HarnessError> {
        let file = |kind| directory.join(format!("{name}.{kind}"));
        let pair = Pair { certificate: file("pem"), key: file("key") };
        replace(&pair.certificate, &self.certificate)?;
        replace(&pair.key, &self.key)?;
        Ok(pair)
    }
}

/// Replaces a file at once, as Kubernetes does: no reader sees half of it.
///
/// # Errors
/// When the system refuses.
pub fn replace(path: &Path, text: &str) -> Result<(), HarnessError> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, path)
    };
    write().map_err(HarnessError::io(format!("write {}", path.display())))
}

fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1);
    LAST.fetch_add(1, Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "certificates are judged by this clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
