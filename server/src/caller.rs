//! Who calls, as far as bounds are shared by callers.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::auth::{Kind, Principal};
use crate::quota::{Full, Hold, Quota};

/// Whom a call is counted for: the caller that was authenticated, else the network that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    /// An identity. All connections of it count together.
    Principal(Kind, Arc<str>),
    /// An address. Of IPv6 the first 64 bits: each host has all the addresses of such a network. `None`: its connection
    /// has ended already.
    Network(Option<IpAddr>),
}

impl CallerKey {
    pub(crate) fn of(principal: &Principal, address: Option<IpAddr>) -> Self {
        match principal.kind() {
            Kind::Anonymous => Self::of_peer(address),
            kind @ (Kind::Certificate | Kind::Forwarded | Kind::Token) => {
                Self::Principal(kind, principal.id().into())
            }
        }
    }

    pub(crate) fn of_peer(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Network(None), Self::of_address)
    }

    pub(crate) fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
                Self::Network(Some(network.into()))
            }
            address @ IpAddr::V4(_) => Self::Network(Some(address)),
        }
    }
}

/// The caller of a call, and what its commands are counted with.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    key: CallerKey,
    queued: Arc<Quota>,
}

/// A caller has as much under way as it may. Nothing was done; it may come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

tokio::task_local! {
    static CALLER: Caller;
}

impl Caller {
    pub(crate) fn new(key: CallerKey, queued: Arc<Quota>) -> Self {
        Self { key, queued }
    }

    /// Runs a handler for this caller.
    pub(crate) fn served<F: Future>(self, handler: F) -> impl Future<Output = F::Output> {
        CALLER.scope(self, handler)
    }
}

/// Counts so many commands for the caller of the call that this task serves, until the answer is dropped: keep it with
/// the commands, not with the call, which may end before them. To be asked where commands are queued, so that no way
/// there can forget it. `None` outside of calls, where nobody is counted.
///
/// # Errors
/// [`TooMuch`], when all callers together or this one would have more commands under way than they may.
pub fn hold(commands: usize) -> Result<Option<Hold>, TooMuch> {
    let Ok(caller) = CALLER.try_with(Clone::clone) else { return Ok(None) };
    caller.queued.take(&caller.key, commands).map(Some).map_err(|full| {
        crate::metrics::refused(match full {
            Full::Bound => "queued",
            Full::Share => "caller_queued",
        });
        TooMuch
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> CallerKey {
        CallerKey::of_address(address.parse().unwrap())
    }

    #[tokio::test]
    async fn commands_are_counted_for_the_caller_that_is_served_and_for_nobody_elsewhere() {
        let queued = Quota::new(10, 50);
        let served = |address| Caller::new(key(address), queued.clone());
        assert!(hold(1_000).unwrap().is_none());
        let held = served("10.0.0.1").served(async { hold(5) }).await.unwrap();
        assert_eq!(served("10.0.0.1").served(async { hold(1) }).await.unwrap_err(), TooMuch);
        assert!(served("10.0.0.2").served(async { hold(2) }).await.is_ok());
        drop(held);
        assert!(served("10.0.0.1").served(async { hold(5) }).await.is_ok());
    }

    #[test]
    fn a_host_is_one_caller_whichever_of_its_addresses_it_uses() {
        assert_eq!(key("::ffff:10.0.0.7"), key("10.0.0.7"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("10.0.0.7"), key("10.0.0.8"));
    }
}
