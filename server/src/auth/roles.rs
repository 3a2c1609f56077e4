//! The roles file: what each caller may do, by the name that its credential gives it.
//!
//! ```json
//! {"callers": [
//!     {"certificate": "spiffe://holdfast/order-service", "rights": ["ledger:settle"]},
//!     {"subject": "alice", "rights": ["orders:own"], "accounts": [7]}
//! ]}
//! ```
//!
//! A certificate and the subject of a token are different callers even where their names are equal, so an issuer of
//! tokens cannot give anybody the name of a certificate.

use std::collections::HashMap;

use serde::Deserialize;
use thiserror::Error;

use super::principal::{Holdings, Kind, Principal};
use super::right::Right;

/// Callers in one file, in which each is looked up by a hash: this bounds what a mistaken file costs.
const CALLERS_MAX: usize = 100_000;

/// Why a roles file cannot be used.
#[derive(Debug, Error)]
pub enum RolesError {
    /// It is no JSON, or not of that form.
    #[error("is not a roles file: {0}")]
    NotRoles(#[from] serde_json::Error),
    /// An entry must say whose it is.
    #[error("callers[{0}] must have either certificate or subject")]
    Nobody(usize),
    /// Two entries are about one caller.
    #[error("callers[{0}] is about {1:?}, as an earlier one is")]
    Twice(usize, String),
    /// A right that no service has.
    #[error("callers[{0}].rights: there is no right {1:?}")]
    UnknownRight(usize, String),
    /// An account that cannot be one.
    #[error("callers[{0}].accounts: {1} is no account")]
    NoAccount(usize, i64),
    /// There are too many.
    #[error("has more than 100000 callers")]
    TooMany,
}

/// What is in the file.
#[derive(Debug, Default)]
pub(super) struct Roles {
    certificates: HashMap<Box<str>, Holdings>,
    subjects: HashMap<Box<str>, Holdings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    callers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    certificate: Option<Box<str>>,
    subject: Option<Box<str>>,
    rights: Vec<String>,
    #[serde(default)]
    accounts: Vec<i64>,
}

impl Roles {
    pub(super) fn parse(json: &[u8], known: &[Right]) -> Result<Self, RolesError> {
        let File { callers } = serde_json::from_slice(json)?;
        if callers.len() > CALLERS_MAX {
            return Err(RolesError::TooMany);
        }

        let mut roles = Self::default();
        for (index, entry) in callers.into_iter().enumerate() {
            let holds = entry.holds(index, known)?;
            let (map, id) = match (entry.certificate, entry.subject) {
                (Some(uri), None) => (&mut roles.certificates, uri),
                (None, Some(subject)) => (&mut roles.subjects, subject),
                (Some(_), Some(_)) | (None, None) => return Err(RolesError::Nobody(index)),
            };
            if map.insert(id.clone(), holds).is_some() {
                return Err(RolesError::Twice(index, id.into()));
            }
        }
        Ok(roles)
    }

    /// The caller whose certificate has this name; one that is not in the file may do nothing.
    pub(super) fn of_certificate(&self, id: &str, kind: Kind) -> Principal {
        Principal::new(id, kind, self.certificates.get(id).cloned().unwrap_or_default())
    }

    /// The bearer of a token, with what the file adds to the token's own claims.
    pub(super) fn of_subject(&self, subject: Box<str>, claimed: Holdings) -> Principal {
        let holds = match self.subjects.get(&subject) {
            Some(added) => claimed.and(added),
            None => claimed,
        };
        Principal::new(subject, Kind::Token, holds)
    }
}

impl Entry {
    fn holds(&self, index: usize, known: &[Right]) -> Result<Holdings, RolesError> {
        let is_unknown = |name: &&String| !known.iter().any(|right| right.name() == name.as_str());
        if let Some(name) = self.rights.iter().find(is_unknown) {
            return Err(RolesError::UnknownRight(index, name.clone()));
        }
        if let Some(account) = self.accounts.iter().find(|account| **account <= 0) {
            return Err(RolesError::NoAccount(index, *account));
        }
        let names = self.rights.iter().map(String::as_str);
        Ok(Holdings::named(names, self.accounts.iter().copied(), known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Right = Right::new("orders:own");
    const SETTLE: Right = Right::new("ledger:settle");
    const KNOWN: [Right; 2] = [OWN, SETTLE];

    fn parse(callers: &str) -> Result<Roles, RolesError> {
        Roles::parse(format!(r#"{{"callers": [{callers}]}}"#).as_bytes(), &KNOWN)
    }

    #[test]
    fn a_certificate_and_a_subject_of_one_name_are_two_callers() {
        let roles = parse(
            r#"{"certificate": "spiffe://a/b", "rights": ["ledger:settle"]},
               {"subject": "spiffe://a/b", "rights": [], "accounts": [7]}"#,
        )
        .unwrap();
        let certificate = roles.of_certificate("spiffe://a/b", Kind::Certificate);
        let bearer = roles.of_subject("spiffe://a/b".into(), Holdings::default());
        assert!(certificate.has(SETTLE) && !certificate.owns(7));
        assert!(!bearer.has(SETTLE) && bearer.owns(7));
    }

    #[test]
    fn a_caller_that_is_not_in_the_file_has_what_its_token_says_and_no_more() {
        let roles = parse("").unwrap();
        assert!(roles.of_certificate("spiffe://a/b", Kind::Certificate).rights().is_empty());
        let claimed = Holdings { rights: vec![OWN], accounts: vec![7] };
        assert_eq!(roles.of_subject("a".into(), claimed).rights(), [OWN]);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (callers, named) in [
            (r#"{"subject": "a", "rights": ["orders:owm"]}"#, r#"callers[0].rights"#),
            (r#"{"subject": "a", "rights": []}, {"rights": []}"#, "callers[1] must have"),
            (r#"{"subject": "a", "certificate": "b", "rights": []}"#, "callers[0] must have"),
            (r#"{"subject": "a", "rights": []}, {"subject": "a", "rights": []}"#, "callers[1] is"),
            (r#"{"subject": "a", "rights": [], "accounts": [0]}"#, "callers[0].accounts"),
            (r#"{"subject": "a", "rights": [], "acounts": [7]}"#, "acounts"),
            (r#"{"subject": "a"}"#, "rights"),
            ("7", "not a roles file"),
        ] {
            let told = parse(callers).unwrap_err().to_string();
            assert!(told.contains(named), "{callers}: {told}");
        }
    }
}
