//! Where Redis is.

use std::{fmt, str::FromStr};

use redis::{Client, ConnectionAddr};
use thiserror::Error;

/// A Redis address that was understood. Never shows its password.
#[derive(Clone)]
pub struct RedisAddress(Client);

/// Why a text is not one. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not an address.
    #[error("is not a Redis address such as redis://:password@host:6379/0, or rediss:// for TLS")]
    Malformed,
    /// `#insecure`: whoever answers would be believed.
    #[error(
        "asks for TLS without a look at the certificate: use redis:// for that, or --redis-tls-ca"
    )]
    Insecure,
}

impl RedisAddress {
    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.0.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
    }

    pub(super) fn client(&self) -> Client {
        self.0.clone()
    }
}

impl FromStr for RedisAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let client = Client::open(text).map_err(|_| AddressError::Malformed)?;
        let address = client.get_connection_info().addr();
        let is_insecure = matches!(address, ConnectionAddr::TcpTls { insecure: true, .. });
        if is_insecure { Err(AddressError::Insecure) } else { Ok(Self(client)) }
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
        assert!(!address.is_tls());
        let address: RedisAddress = "rediss://:s3cret@cache.example".parse().unwrap();
        assert!(address.is_tls() && !format!("{address:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let insecure = "rediss://:s3cret@cache.example/#insecure";
        for wrong in ["", "cache.example:6379", "http://:s3cret@cache.example", insecure] {
            let refused = wrong.parse::<RedisAddress>().unwrap_err();
            assert!(!refused.to_string().contains("s3cret"), "{wrong}");
        }
    }
}
