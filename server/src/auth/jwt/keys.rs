//! The issuer's keys: a JWK set (RFC 7517), each key for one algorithm.

use std::collections::HashMap;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use thiserror::Error;

use super::crypto;
use crate::auth::config::TokenConfig;

/// Keys in one set: an issuer has two or three. A set with more is not a set of keys.
const KEYS_MAX: usize = 100;

/// Why a JWK set cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// It is no JSON, or not of that form.
    #[error("is not a JWK set: {0}")]
    NotJwks(serde_json::Error),
    /// There is no key in it that tokens may be signed with.
    #[error("holds no key for ES256, EdDSA or RS256")]
    NoKey,
    /// There are too many.
    #[error("holds more than 100 keys")]
    TooMany,
    /// A name stands for two keys.
    #[error("holds two keys with kid {0:?}")]
    SameId(String),
    /// Two keys have no name.
    #[error("holds two keys without a kid")]
    NoId,
    /// A key is broken.
    #[error("key {0:?} cannot be used: {1}")]
    Broken(String, jsonwebtoken::errors::Error),
}

/// The digest of a public key: the same in two sets, it is the same key.
pub(super) type KeyDigest = [u8; SHA256_OUTPUT_LEN];

/// A key, and what a token must be to be checked with it.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) digest: KeyDigest,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// Its algorithm alone, and the issuer and audience that are expected. Times are checked apart, by a clock that is
    /// a parameter.
    pub(super) validation: Validation,
}

/// The keys of a set by `kid`. The one without a `kid` is found by tokens without one.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_id: HashMap<Option<String>, Key>,
    pub(super) issuer: Box<str>,
    pub(super) audience: Box<str>,
}

impl Keys {
    /// Reads a JWK set. Keys for other algorithms or for encryption are left out, as RFC 7517 asks.
    pub(crate) fn parse(json: &[u8], expected: &TokenConfig) -> Result<Self, KeysError> {
        crypto::install();
        let set: JwkSet = serde_json::from_slice(json).map_err(KeysError::NotJwks)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }

        let mut by_id = HashMap::new();
        for jwk in &set.keys {
            let Some(algorithm) = algorithm_of(jwk) else { continue };
            let id = jwk.common.key_id.clone();
            let decoding = DecodingKey::from_jwk(jwk)
                .map_err(|why| KeysError::Broken(id.clone().unwrap_or_default(), why))?;
            let (digest, validation) = (digest_of(jwk), validation(algorithm, expected));
            let key = Key { digest, algorithm, decoding, validation };
            if by_id.insert(id.clone(), key).is_some() {
                return Err(id.map_or(KeysError::NoId, KeysError::SameId));
            }
        }
        if by_id.is_empty() {
            return Err(KeysError::NoKey);
        }

        let (issuer, audience) = (expected.issuer.as_str(), expected.audience.as_str());
        Ok(Self { by_id, issuer: issuer.into(), audience: audience.into() })
    }

    #[cfg(test)]
    pub(in crate::auth) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, self.by_id.len()) {
            // A token may leave its key's name out where there is nothing to choose.
            (None, 1) => self.by_id.values().next(),
            _ => self.by_id.get(&id.map(ToOwned::to_owned)),
        }
    }
}

/// Of what the key is, and not of what the set says besides: certificates and dates may be added to it.
fn digest_of(jwk: &Jwk) -> KeyDigest {
    let parameters = serde_json::to_vec(&jwk.algorithm).expect("a key that was JSON is JSON");
    let digest = digest(&SHA256, &parameters);
    digest.as_ref().try_into().expect("a SHA-256 has its length")
}

/// The one algorithm that a key is for. It follows from the key and never from the token.
#[expect(clippy::wildcard_enum_match_arm, reason = "keys of all other kinds are for others")]
fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        _ => return None,
    };
    let is_named = jwk.common.key_algorithm.is_none_or(|named| named == algorithm.into());
    let signs = matches!(&jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = jwk
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    (is_named && signs && verifies).then_some(algorithm)
}

fn validation(algorithm: Algorithm, expected: &TokenConfig) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[&expected.issuer]);
    validation.set_audience(&[&expected.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    validation
}
