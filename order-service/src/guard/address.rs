//! Where Redis is.

use std::{fmt, str::FromStr};

use redis::Client;
use thiserror::Error;

/// A Redis address that was understood. Never shows its password.
#[derive(Clone)]
pub struct RedisAddress(Client);

/// Why a text is not one. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("is not a Redis address such as redis://:password@host:6379/0 (TLS is not spoken)")]
pub struct AddressError;

impl RedisAddress {
    pub(super) fn client(&self) -> Client {
        self.0.clone()
    }
}

impl FromStr for RedisAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Client::open(text).map(Self).map_err(|_| AddressError)
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisAddress")
            .field(&self.0.get_connection_info().addr().to_string())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_and_its_password_never_shown() {
        let address: RedisAddress = "redis://:s3cret@cache.example:6379/1".parse().unwrap();
        assert_eq!(format!("{address:?}"), "RedisAddress(\"cache.example:6379\")");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for wrong in
            ["", "cache.example:6379", "http://cache.example", "rediss://:s3cret@cache.example"]
        {
            let refused = wrong.parse::<RedisAddress>().unwrap_err();
            assert!(!refused.to_string().contains("s3cret"), "{wrong}");
        }
    }
}
