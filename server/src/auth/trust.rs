//! The files in force: keys, roles, and the tokens that were checked with them.
//!
//! Files are compared by content, as certificates are. A change that does not parse is logged and leaves what was in
//! force; so a broken file never locks everybody out, nor lets anybody in.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::config::{AuthConfig, TokenConfig};
use super::jwt::{Keys, KeysError, Moment, TokenError, verify};
use super::principal::Principal;
use super::right::Right;
use super::roles::{Roles, RolesError};
use super::verified::{Found, Verified, fingerprint};

/// The longest file, in bytes: a roles file of a hundred thousand callers has about as many.
const FILE_BYTES_MAX: u64 = 16 << 20;

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

/// What is believed now. Replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Trust {
    keys: Keys,
    pub(super) roles: Roles,
    verified: Verified,
}

/// Where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    tokens: Option<TokenConfig>,
    roles: Option<PathBuf>,
    known: &'static [Right],
}

/// What the files held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    jwks: Option<Vec<u8>>,
    roles: Option<Vec<u8>>,
}

impl Source {
    pub(super) fn new(config: &AuthConfig, known: &'static [Right]) -> Self {
        Self { tokens: config.tokens.clone(), roles: config.roles.clone(), known }
    }

    /// What the files hold and come to. Blocks.
    pub(super) fn load(&self) -> Result<(Contents, Trust), AuthError> {
        let contents = self.read()?;
        let trust = self.parse(&contents)?;
        Ok((contents, trust))
    }

    /// The same, unless the files are as before.
    pub(super) fn changed(
        &self,
        before: &Contents,
    ) -> Result<Option<(Contents, Trust)>, AuthError> {
        let contents = self.read()?;
        if contents == *before {
            return Ok(None);
        }
        let trust = self.parse(&contents)?;
        Ok(Some((contents, trust)))
    }

    fn read(&self) -> Result<Contents, AuthError> {
        let jwks = self.tokens.as_ref().map(|tokens| read(&tokens.jwks)).transpose()?;
        let roles = self.roles.as_deref().map(read).transpose()?;
        Ok(Contents { jwks, roles })
    }

    fn parse(&self, contents: &Contents) -> Result<Trust, AuthError> {
        let keys = match (&self.tokens, &contents.jwks) {
            (Some(tokens), Some(jwks)) => Keys::parse(jwks, tokens)
                .map_err(|source| AuthError::Keys { path: tokens.jwks.clone(), source })?,
            (None, _) | (_, None) => Keys::default(),
        };
        let roles = match (&self.roles, &contents.roles) {
            (Some(path), Some(roles)) => Roles::parse(roles, self.known)
                .map_err(|source| AuthError::Roles { path: path.clone(), source })?,
            (None, _) | (_, None) => Roles::default(),
        };
        Ok(Trust { keys, roles, verified: Verified::default() })
    }
}

impl Trust {
    /// The bearer of a token that was found good with these files and is still valid.
    pub(super) fn remembered(&self, token: &str, now_s: u64) -> Option<Principal> {
        let found = self.verified.find(&fingerprint(token))?;
        (found.validity.at(now_s) == Moment::Within).then_some(found.principal)
    }

    /// The bearer of a token.
    pub(super) fn bearer(
        &self,
        token: &str,
        known: &[Right],
        now_s: u64,
    ) -> Result<Principal, TokenError> {
        let name = fingerprint(token);
        let before = self.verified.find(&name);
        let is_new = before.is_none();
        let found = match before {
            Some(found) => found,
            None => self.verify(token, known)?,
        };

        match found.validity.at(now_s) {
            Moment::Early => Err(TokenError::Early),
            Moment::Late => Err(TokenError::Expired),
            Moment::Within => {
                if is_new {
                    self.verified.insert(name, found.clone());
                }
                Ok(found.principal)
            }
        }
    }

    fn verify(&self, token: &str, known: &[Right]) -> Result<Found, TokenError> {
        let bearer = verify(token, &self.keys, known)?;
        let principal = self.roles.of_subject(bearer.subject, bearer.holds);
        Ok(Found { principal, validity: bearer.validity })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AuthError> {
    let failed = |source| AuthError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut contents = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is longer than 16 MiB")));
    }
    Ok(contents)
}
