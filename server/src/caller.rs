//! Who calls, as far as bounds are shared by callers.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use http::Extensions;

use crate::quota::{Full, Hold, Quota};

/// Whom a call is counted for: the caller that was authenticated, else the network that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CallerKey {
    /// An authenticated identity. All connections of it count together.
    Principal(Arc<str>),
    /// An address. Of IPv6 the first 64 bits: each host has all the addresses of such a network.
    Network(IpAddr),
}

impl CallerKey {
    pub(crate) fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
                Self::Network(network.into())
            }
            address @ IpAddr::V4(_) => Self::Network(address),
        }
    }
}

/// The caller of a request, found in the request's extensions. Work that outlives its call, such as a queued command,
/// is counted here.
#[derive(Clone, Debug)]
pub struct Caller {
    key: CallerKey,
    queued: Arc<Quota>,
}

/// A caller has as much under way as it may. Nothing was done; it may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Caller {
    pub(crate) fn new(key: CallerKey, queued: Arc<Quota>) -> Self {
        Self { key, queued }
    }

    /// Counts so many commands for the caller of the request with these extensions, until the answer is dropped: keep it
    /// with the commands, not with the call, which may end before them. `None` where no server of ours serves.
    ///
    /// # Errors
    /// [`TooMuch`], when all callers together or this one would have more commands under way than they may.
    pub fn hold(extensions: &Extensions, commands: usize) -> Result<Option<Hold>, TooMuch> {
        let Some(caller) = extensions.get::<Self>() else { return Ok(None) };
        caller.queued.take(&caller.key, commands).map(Some).map_err(|full| {
            let bound = match full {
                Full::Bound => "queued",
                Full::Share => "caller_queued",
            };
            crate::metrics::refused(bound);
            TooMuch
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> CallerKey {
        CallerKey::of_address(address.parse().unwrap())
    }

    #[test]
    fn a_host_is_one_caller_whichever_of_its_addresses_it_uses() {
        assert_eq!(key("::ffff:10.0.0.7"), key("10.0.0.7"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("10.0.0.7"), key("10.0.0.8"));
    }
}
