//! Bearer tokens: JWTs (RFC 7519) that the configured issuer signed for the configured audience.

mod claims;
mod crypto;
mod keys;

use jsonwebtoken::errors::ErrorKind;
use thiserror::Error;

pub use keys::KeysError;

pub(super) use claims::{Moment, Validity};
pub(super) use keys::Keys;

use super::principal::Holdings;
use super::right::Right;
use claims::Claims;

/// The longest token, in bytes: half of what all headers of a request may have.
pub(super) const TOKEN_BYTES_MAX: usize = 8 << 10;

/// A token whose signature, issuer and audience are good. Whether its time is, changes.
#[derive(Debug)]
pub(super) struct Bearer {
    pub(super) subject: Box<str>,
    pub(super) validity: Validity,
    pub(super) holds: Holdings,
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

/// Reads a token that one of these keys signed.
pub(super) fn verify(token: &str, keys: &Keys, known: &[Right]) -> Result<Bearer, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // RFC 7515, 4.1.11: an extension that must be understood, and none is.
    if header.crit.is_some() {
        return Err(TokenError::Malformed);
    }

    let key = keys.find(header.kid.as_deref()).ok_or(TokenError::UnknownKey)?;
    let decoded = jsonwebtoken::decode::<Claims>(token, &key.decoding, &key.validation);
    let claims = decoded.map_err(|why| reason(why.kind()))?.claims;

    let holds = Holdings::named(claims.scope.split(' '), claims.accounts(), known);
    Ok(Bearer { validity: claims.validity(), subject: claims.sub, holds })
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
