use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::auth::config::TokenConfig;

pub(in crate::auth) const READ: Right = Right::new("things:read");
pub(in crate::auth) const KNOWN: [Right; 1] = [READ];

/// An issuer with a key of each of two algorithms.
pub(in crate::auth) struct Issuer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    pub(in crate::auth) fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let ec = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn ec_key(&self, id: &str) -> Value {
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": BASE64.encode(x), "y": BASE64.encode(y) })
    }

    fn ed_key(&self, id: &str) -> Value {
        let x = BASE64.encode(self.ed.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
    }

    pub(in crate::auth) fn jwks(&self) -> String {
        json!({ "keys": [self.ec_key("ec"), self.ed_key("ed")] }).to_string()
    }

    /// Its key, as JSON.
    pub(in crate::auth) fn key(&self, id: &str) -> String {
        self.ec_key(id).to_string()
    }

    fn keys(&self) -> Keys {
        keys(&[self.ec_key("ec"), self.ed_key("ed")]).unwrap()
    }

    /// A token with this header, signed as its `alg` says; with the one key or the other where that is something else.
    pub(in crate::auth) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |part: &Value| BASE64.encode(part.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed.sign(message.as_bytes()).as_ref().to_vec(),
            _ => {
                let random = SystemRandom::new();
                self.ec.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
            }
        };
        format!("{message}.{}", BASE64.encode(signature))
    }

    pub(in crate::auth) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "ec" }), claims)
    }
}

pub(in crate::auth) fn expected() -> TokenConfig {
    TokenConfig {
        jwks: "keys.json".into(),
        issuer: "issuer".to_owned(),
        audience: "audience".to_owned(),
    }
}

/// The claims of alice, who may read and has account 7, with a change.
pub(in crate::auth) fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "issuer", "aud": "audience", "sub": "alice", "exp": 1_000,
        "scope": "openid things:read", "accounts": [7],
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn verify(token: &str, keys: &Keys, known: &[Right]) -> Result<Bearer, TokenError> {
    inspect(token, keys)?.prove(known)
}

fn keys(keys: &[Value]) -> Result<Keys, KeysError> {
    Keys::parse(json!({ "keys": keys }).to_string().as_bytes(), &expected())
}

fn refused(issuer: &Issuer, token: &str) -> TokenError {
    verify(token, &issuer.keys(), &KNOWN).unwrap_err()
}

#[test]
fn a_token_of_each_algorithm_says_who_its_bearer_is() {
    let issuer = Issuer::new();
    for header in [json!({ "alg": "ES256", "kid": "ec" }), json!({ "alg": "EdDSA", "kid": "ed" })] {
        let token = issuer.sign(&header, &claims(json!({ "aud": ["other", "audience"] })));
        let bearer = verify(&token, &issuer.keys(), &KNOWN).unwrap();
        assert_eq!(&*bearer.subject, "alice");
        assert_eq!((bearer.holds.rights, bearer.holds.accounts), (vec![READ], vec![7]));
        assert_eq!(bearer.validity.at(1_029), Moment::Within);
        assert_eq!(bearer.validity.at(1_030), Moment::Late);
    }
}

#[test]
fn a_token_that_openssl_signed_with_rsa_is_good_until_a_bit_of_it_changes() {
    let key = json!({ "kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": RSA_MODULUS, "e": "AQAB" });
    let keys = keys(&[key]).unwrap();
    assert_eq!(&*verify(RSA_TOKEN, &keys, &KNOWN).unwrap().subject, "alice");

    let (message, signature) = RSA_TOKEN.rsplit_once('.').unwrap();
    let mut signature = BASE64.decode(signature).unwrap();
    signature[100] ^= 1;
    let forged = format!("{message}.{}", BASE64.encode(signature));
    assert_eq!(verify(&forged, &keys, &KNOWN).unwrap_err(), TokenError::Signature);
}

#[test]
fn a_token_of_another_key_issuer_or_audience_is_refused() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let good = claims(json!({}));
    assert_eq!(refused(&issuer, &stranger.token(&good)), TokenError::Signature);
    let unknown = issuer.sign(&json!({ "alg": "ES256", "kid": "new" }), &good);
    assert_eq!(refused(&issuer, &unknown), TokenError::UnknownKey);
    let unnamed = issuer.sign(&json!({ "alg": "ES256" }), &good);
    assert_eq!(refused(&issuer, &unnamed), TokenError::UnknownKey);
    for (change, expected) in [
        (json!({ "iss": "other" }), TokenError::Issuer),
        (json!({ "aud": "other" }), TokenError::Audience),
        (json!({ "aud": [] }), TokenError::Audience),
        (json!({ "iss": null }), TokenError::Claims),
        (json!({ "aud": null }), TokenError::Claims),
        (json!({ "exp": null }), TokenError::Claims),
        (json!({ "sub": "" }), TokenError::Claims),
        (json!({ "accounts": "all" }), TokenError::Claims),
    ] {
        assert_eq!(refused(&issuer, &issuer.token(&claims(change.clone()))), expected, "{change}");
    }
}

#[test]
fn the_algorithm_is_the_keys_whatever_the_token_says() {
    let issuer = Issuer::new();
    let good = claims(json!({}));
    for (algorithm, key) in [("EdDSA", "ec"), ("ES256", "ed"), ("RS256", "ec"), ("ES384", "ec")] {
        let token = issuer.sign(&json!({ "alg": algorithm, "kid": key }), &good);
        assert_eq!(refused(&issuer, &token), TokenError::Algorithm, "{algorithm} with {key}");
    }

    // "Signed" with the public key as a secret, and not signed at all.
    let part = |part: &Value| BASE64.encode(part.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": "HS256", "kid": "ec" })), part(&good));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.ec.public_key().as_ref());
    let code = ring::hmac::sign(&secret, message.as_bytes());
    let token = format!("{message}.{}", BASE64.encode(code));
    assert_eq!(refused(&issuer, &token), TokenError::Algorithm);
    for none in ["none", "None", "NONE", ""] {
        let header = part(&json!({ "alg": none, "kid": "ec" }));
        let token = format!("{header}.{}.", part(&good));
        assert_eq!(refused(&issuer, &token), TokenError::Malformed, "{none}");
    }
}

#[test]
fn a_token_that_asks_for_more_than_is_understood_is_refused() {
    let issuer = Issuer::new();
    let header = json!({ "alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false });
    let token = issuer.sign(&header, &claims(json!({})));
    assert_eq!(refused(&issuer, &token), TokenError::Malformed);
    let long = issuer.token(&claims(json!({ "x": "y".repeat(TOKEN_BYTES_MAX) })));
    assert_eq!(refused(&issuer, &long), TokenError::Malformed);
}

#[test]
fn a_key_set_is_taken_whole_or_not_at_all() {
    let issuer = Issuer::new();
    let with = |mut key: Value, name: &str, value: Value| {
        key[name] = value;
        key
    };
    let ec = || issuer.ec_key("ec");
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256" });
    for useless in [
        secret.clone(),
        with(ec(), "use", json!("enc")),
        with(ec(), "alg", json!("ES384")),
        with(ec(), "crv", json!("P-384")),
        with(ec(), "key_ops", json!(["sign"])),
        with(ec(), "kty", json!("future")),
    ] {
        let alone = keys(std::slice::from_ref(&useless));
        assert!(matches!(alone, Err(KeysError::NoKey | KeysError::NotJwks(_))), "{useless}");
    }
    assert!(keys(&[secret, ec()]).is_ok());
    assert!(matches!(keys(&[ec(), ec()]), Err(KeysError::SameId(_))));
    assert!(matches!(keys(&[with(ec(), "x", json!("?")), ec()]), Err(KeysError::Broken(..))));
    assert!(matches!(keys(&vec![ec(); 101]), Err(KeysError::TooMany)));
    let private = Keys::parse(b"-----BEGIN PRIVATE KEY-----", &expected());
    assert!(matches!(private, Err(KeysError::NotJwks(_))));
}

#[test]
fn a_token_without_a_key_id_is_checked_with_the_only_key() {
    let issuer = Issuer::new();
    let token = issuer.sign(&json!({ "alg": "ES256" }), &claims(json!({})));
    assert!(verify(&token, &keys(&[issuer.ec_key("ec")]).unwrap(), &KNOWN).is_ok());
}

proptest! {
    #[test]
    fn nothing_but_what_the_issuer_signed_is_believed(at: prop::sample::Index, byte: u8, text: String) {
        let issuer = Issuer::new();
        let token = issuer.token(&claims(json!({})));
        let mut forged = token.clone().into_bytes();
        let at = at.index(forged.len());
        forged[at] = byte;
        if let Ok(forged) = String::from_utf8(forged) {
            let is_same = forged == token;
            prop_assert_eq!(verify(&forged, &issuer.keys(), &KNOWN).is_ok(), is_same, "{}", forged);
        }
        prop_assert!(verify(&text, &issuer.keys(), &KNOWN).is_err());
    }
}

const RSA_MODULUS: &str = concat!(
    "s7Cm4uQ-2StX-ETZKL5Y4pFLC_kTIkEHbxrfs-oRiqMRR73sDyg0RceQXoM8MtVTYGyWX62sJr9mMj4sehdCAztu",
    "weOzsjfAGM7ewdL7Hovj999DRiiHmNW-t70IE8fX1__iXgFL7wruLb4JJsMSpn50Hqqnq2H_chWP8HxEOumb9FRf",
    "VNg5WXwlmturbuqhUJ4UDuyzrglNQwTINcl4Y3rQSNkbVZ7GkbamqWE01yhcmlVJCQ0k_skZKCnYB2wupNZtAq07",
    "VKfonLp06l3iiwLwrkyK6kCgqIgwQiR6EKtWWHMZIKMATzsHQuLJZ4AM3syGQJjQYTZzShyIk0TZxw",
);

const RSA_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJpc3N1ZXIiLCJhdWQiOiJhdWRpZW5jZSIsInN1YiI",
    "6ImFsaWNlIiwiZXhwIjoxMDAwfQ.r9uOq421AM6qzapwUWgmfRBpAmuJZwWnVxvdfpMYpALLmgx6I1v7dBI7WJp-",
    "CYJpuoAX2SDYRLCEwRe0i4fEHthOjGq1qDy5KqcQ-R4xkJlFlJFBz0OLphU5X0UrdyOpgRSnucDYyZG5lbBzdaFP",
    "Jlwt-WZHcvQSPJtDr5yGCwqsuWcEde0GBVJlrvRykGe6TyatcMjJT9hGr6FKhJLx8xLe7YEytNqf9fI4VnapLraz",
    "qgRTIq0R_pXco9aJFz5yuT8Jt6y6Y4tuA8EpEWxFDtFGqeIsT8dBLsWAUmpCKdbKkzM6eFhTTLub4zK2cgXeIuv1",
    "cVfUrQqxirSwClgZ2Q",
);
