//! An issuer of bearer tokens, with keys of its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// What `iss` is.
pub const ISSUER: &str = "https://issuer.test";
/// What `aud` is.
pub const AUDIENCE: &str = "holdfast";

/// How long a token lasts, unless it says otherwise: longer than any test.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Which key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// An issuer.
#[derive(Debug)]
pub struct Issuer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    /// An issuer with new keys.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = "the system has randomness";
        let ec = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect(made);
        let ed = Ed25519KeyPair::generate_pkcs8(&random).expect(made);
        let read = "a key that was just made";
        Self {
            ec: EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random).expect(read),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect(read),
        }
    }

    /// Its public keys, as `--auth-jwks` has them.
    #[must_use]
    pub fn jwks(&self) -> String {
        // An uncompressed point: one byte that says so, then both coordinates.
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": x, "y": y });
        let x = BASE64.encode(self.ed.public_key());
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": x });
        json!({ "keys": [ec, ed] }).to_string()
    }

    /// A token of these claims.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let (name, key) = match algorithm {
            Algorithm::Es256 => ("ES256", "ec"),
            Algorithm::EdDsa => ("EdDSA", "ed"),
        };
        let header = json!({ "alg": name, "kid": key, "typ": "at+jwt" });
        let part = |part: &Value| BASE64.encode(part.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let bytes = message.as_bytes();
        let signature = match algorithm {
            Algorithm::Es256 => {
                let signed = self.ec.sign(&SystemRandom::new(), bytes);
                signed.expect("the system has randomness").as_ref().to_vec()
            }
            Algorithm::EdDsa => self.ed.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

/// The claims of a caller with these rights and accounts.
#[must_use]
pub fn claims(subject: &str, rights: &[&str], accounts: &[i64]) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "exp": (now() + LIFETIME).as_secs(),
        "nbf": now().as_secs(),
        "scope": rights.join(" "),
        "accounts": accounts,
    })
}

/// The time since 1970.
///
/// # Panics
/// When the clock is before that.
#[expect(
    clippy::disallowed_methods,
    reason = "tokens are dated by the wall clock, as their issuer's is"
)]
#[must_use]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right")
}
