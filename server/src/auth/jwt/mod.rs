//! Bearer tokens: JWTs (RFC 7519) that the configured issuer signed for the configured audience.
//!
//! A token is checked in two steps, since anybody can send one: [`inspect`] reads what it says of itself, at the cost of
//! parsing it; only [`Unproven::prove`] checks the signature, which costs ten times as much and is bounded by
//! [`checks`](super::checks).

mod claims;
mod crypto;
mod keys;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use thiserror::Error;

pub use keys::KeysError;

pub(super) use claims::{Moment, Validity};
pub(super) use keys::Keys;

use super::principal::Holdings;
use super::right::Right;
use claims::Claims;
use keys::{Key, KeyDigest};

/// The longest token, in bytes: half of what all headers of a request may have.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What a token says of itself, signed or not.
#[derive(Debug)]
pub(super) struct Unproven<'token, 'keys> {
    token: &'token str,
    key: &'keys Key,
    key_id: Option<String>,
    validity: Validity,
}

/// A token whose signature, issuer and audience are good. Whether its time is, changes.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) subject: Box<str>,
    pub(super) validity: Validity,
    pub(super) holds: Holdings,
    key_id: Option<String>,
    key: KeyDigest,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum TokenError {
    #[error("it is not a token, or not of a supported form")]
    Malformed,
    #[error("its algorithm is not that of its key")]
    Algorithm,
    #[error("its key is not one of the issuer's")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("a claim is missing or malformed")]
    Claims,
    #[error("it is not valid yet")]
    Early,
    #[error("it has expired")]
    Expired,
}

/// Reads a token, down to its signature.
pub(super) fn inspect<'token, 'keys>(
    token: &'token str,
    keys: &'keys Keys,
) -> Result<Unproven<'token, 'keys>, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // RFC 7515, 4.1.11: an extension that must be understood, and none is.
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }

    let key = keys.find(header.kid.as_deref()).ok_or(TokenError::UnknownKey)?;
    if header.alg != key.algorithm {
        return Err(TokenError::Algorithm);
    }

    let claims = insecure_decode_claims::<Claims>(token).map_err(|why| reason(why.kind()))?;
    if claims.iss != keys.issuer {
        return Err(TokenError::Issuer);
    }
    if !claims.is_for(&keys.audience) {
        return Err(TokenError::Audience);
    }
    Ok(Unproven { token, key, key_id: header.kid, validity: claims.validity() })
}

impl Unproven<'_, '_> {
    pub(super) fn text(&self) -> &str {
        self.token
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// Checks the signature, and reads nothing that was not signed.
    pub(super) fn prove(self, known: &[Right]) -> Result<Bearer, TokenError> {
        let Self { token, key, key_id, .. } = self;
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation);
        let claims = decoded.map_err(|why| reason(why.kind()))?.claims;

        let holds = Holdings::named(claims.scope.split(' '), claims.accounts(), known);
        let validity = claims.validity();
        Ok(Bearer { subject: claims.sub, validity, holds, key_id, key: key.digest })
    }
}

impl Bearer {
    /// Whether the key that signed it is the one that these keys would check it with.
    pub(super) fn is_signed_by(&self, keys: &Keys) -> bool {
        keys.find(self.key_id.as_deref()).is_some_and(|key| key.digest == self.key)
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library adds kinds as it grows")]
fn reason(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidSubject
        | ErrorKind::Json(_) => TokenError::Claims,
        // Whatever else it is, the token is not good.
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
pub(in crate::auth) mod tests;
