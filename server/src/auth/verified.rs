//! Tokens that were found good: checking a signature costs a hundred times what finding one here does.
//!
//! Only good tokens get in, so strangers cannot fill it. It holds two generations; when the younger is full, the older
//! one goes, so a token in use stays and memory is bounded. It outlives keys and roles: a token whose key is still among
//! the issuer's is not checked again when another key is added, so a new key set costs a look per token and no signature
//! checks. Times are checked with each use.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::jwt::Bearer;
use super::principal::Principal;

/// Tokens of one generation: callers at one time, at some 300 bytes.
const GENERATION: usize = 8_192;

/// The digest of a token: what stays in memory is of no use to anyone who reads it there.
pub(super) type Fingerprint = [u8; SHA256_OUTPUT_LEN];

/// The bearer of a token, and who that is by the files of one edition.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bearer: Bearer,
    pub(super) principal: Principal,
    pub(super) edition: u64,
}

#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    younger: HashMap<Fingerprint, Arc<Found>>,
    older: HashMap<Fingerprint, Arc<Found>>,
}

pub(super) fn fingerprint(token: &str) -> Fingerprint {
    let digest = digest(&SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("a SHA-256 has its length")
}

impl Verified {
    pub(super) fn find(&self, token: &Fingerprint) -> Option<Arc<Found>> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = generations.younger.get(token) {
            return Some(found.clone());
        }
        let found = generations.older.remove(token)?;
        generations.insert(*token, found.clone());
        Some(found)
    }

    pub(super) fn insert(&self, token: Fingerprint, found: Arc<Found>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, found);
    }
}

impl Generations {
    fn insert(&mut self, token: Fingerprint, found: Arc<Found>) {
        if self.younger.len() >= GENERATION {
            self.older = mem::take(&mut self.younger);
        }
        self.younger.insert(token, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::jwt::tests::{Issuer, KNOWN, claims};
    use crate::auth::jwt::{Keys, inspect};
    use crate::auth::principal::{Holdings, Kind};

    #[test]
    fn a_token_in_use_stays_and_the_others_make_room() {
        let issuer = Issuer::new();
        let keys =
            Keys::parse(issuer.jwks().as_bytes(), &crate::auth::jwt::tests::expected()).unwrap();
        let token = issuer.token(&claims(json!({})));
        let bearer = inspect(&token, &keys).unwrap().prove(&KNOWN).unwrap();
        let found = |id: usize| {
            let principal = Principal::new(id.to_string(), Kind::Token, Holdings::default());
            Arc::new(Found { bearer: bearer.clone(), principal, edition: 0 })
        };

        let verified = Verified::default();
        let name = |id: usize| fingerprint(&id.to_string());
        verified.insert(name(0), found(0));
        for id in 1..GENERATION * 10 {
            verified.insert(name(id), found(id));
            assert_eq!(verified.find(&name(0)).unwrap().principal.id(), "0");
        }
        let generations = verified.0.lock().unwrap();
        assert!(generations.younger.len() + generations.older.len() <= 2 * GENERATION);
        drop(generations);
        assert!(verified.find(&name(1)).is_none());
    }
}
