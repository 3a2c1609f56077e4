//! What is in force: keys, roles, and the tokens that were checked with them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::jwt::{Bearer, Keys, KeysError, Moment, TokenError, Unproven, inspect};
use super::principal::Principal;
use super::right::Right;
use super::roles::{Roles, RolesError};
use super::verified::{Found, Verified, fingerprint};

/// Why callers cannot be told apart.
#[derive(Debug, Error)]
pub enum AuthError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The issuer's keys cannot be used.
    #[error("{path} {source}", path = .path.display())]
    Keys {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: KeysError,
    },
    /// The roles cannot be used.
    #[error("{path} {source}", path = .path.display())]
    Roles {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: RolesError,
    },
}

/// What is believed now. Replaced as a whole; tokens that were found good are handed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    pub(super) keys: Arc<Keys>,
    pub(super) roles: Arc<Roles>,
    verified: Arc<Verified>,
    edition: u64,
}

impl Trust {
    /// The next edition, after `change`.
    pub(super) fn next(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = Self { edition: self.edition + 1, ..self.clone() };
        change(&mut next);
        next
    }

    /// The bearer of a token that was found good, whose key is still one of the issuer's, and whose time is still good.
    /// What it may do is asked of the roles in force.
    pub(super) fn remembered(&self, token: &str, now_s: u64) -> Option<Principal> {
        let name = fingerprint(token);
        let mut found = self.verified.find(&name)?;
        if found.edition != self.edition {
            if !found.bearer.is_signed_by(&self.keys) {
                return None;
            }
            found = self.found(found.bearer.clone());
            self.verified.insert(name, found.clone());
        }
        let is_timely = found.bearer.validity.at(now_s) == Moment::Within;
        is_timely.then(|| found.principal.clone())
    }

    /// What a token says of itself, if that is good.
    pub(super) fn inspect<'token>(
        &self,
        token: &'token str,
        now_s: u64,
    ) -> Result<Unproven<'token, '_>, TokenError> {
        let unproven = inspect(token, &self.keys)?;
        match unproven.validity().at(now_s) {
            Moment::Early => Err(TokenError::Early),
            Moment::Late => Err(TokenError::Expired),
            Moment::Within => Ok(unproven),
        }
    }

    /// Its bearer, if it is signed.
    pub(super) fn prove(
        &self,
        token: Unproven<'_, '_>,
        known: &[Right],
    ) -> Result<Principal, TokenError> {
        let name = fingerprint(token.text());
        let found = self.found(token.prove(known)?);
        self.verified.insert(name, found.clone());
        Ok(found.principal.clone())
    }

    fn found(&self, bearer: Bearer) -> Arc<Found> {
        let principal = self.roles.of_subject(bearer.subject.clone(), bearer.holds.clone());
        Arc::new(Found { bearer, principal, edition: self.edition })
    }
}
