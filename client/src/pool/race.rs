//! `pick_first`: one endpoint of many, the first that answers (gRFC A62; RFC 8305, "Happy Eyeballs").
//!
//! Addresses are tried in order, each 250 ms after the one before it or as soon as that one failed,
//! with those under way left running. The first that is ready wins and stays; the others are let go.
//! When it is lost the race starts anew.

use std::time::Duration;

use tokio::time::Instant;

use super::state::State;
use super::{EndpointId, Pool};
use crate::resolve::Address;

/// RFC 8305's "Connection Attempt Delay", as A62 takes it.
const HEAD_START: Duration = Duration::from_millis(250);

impl Pool {
    /// Starts what is due, or ends the race if somebody won it.
    pub(super) fn race(&mut self, now: Instant) {
        if let Some(winner) = self.winner() {
            self.race_at = None;
            return self.park_all_but(winner);
        }
        let under_way = self.endpoints.values().any(|it| matches!(it.state, State::Connecting(_)));
        let due = self.race_at.is_none_or(|at| at <= now);
        if under_way && !due {
            return;
        }
        let idle = self.endpoints.iter().filter(|(_, it)| matches!(it.state, State::Idle(_)));
        let next = idle.filter(|(_, it)| !it.leaving).min_by_key(|(_, it)| it.rank);
        self.race_at = match next.map(|(id, _)| *id) {
            Some(id) => {
                self.start(id);
                now.checked_add(HEAD_START)
            }
            None => None,
        };
    }

    fn winner(&self) -> Option<EndpointId> {
        let ready = self
            .endpoints
            .iter()
            .filter(|(_, it)| !it.leaving && matches!(it.state, State::Ready(_)));
        ready.min_by_key(|(_, it)| it.rank).map(|(id, _)| *id)
    }

    fn park_all_but(&mut self, winner: EndpointId) {
        let others: Vec<_> = self.endpoints.keys().copied().filter(|id| *id != winner).collect();
        for id in others {
            self.change(id, |_, _, state| State::Idle(state.park()));
        }
    }

    fn start(&mut self, id: EndpointId) {
        self.change(id, |pool, shared, state| pool.connect(state.park(), shared));
    }
}

/// Takes turns between the address families, beginning with the first one's, so that a network that
/// drops one family costs one head start and not one for each address.
pub(super) fn interleave(addresses: Vec<Address>) -> Vec<Address> {
    let is_v6 = |address: &Address| matches!(address, Address::Ip(ip) if ip.is_ipv6());
    let first_is_v6 = addresses.first().is_some_and(is_v6);
    let (same, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| is_v6(address) == first_is_v6);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(same.len() + other.len());
    loop {
        let pair = (same.next(), other.next());
        if pair == (None, None) {
            return turns;
        }
        turns.extend(pair.0);
        turns.extend(pair.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_keep_their_own_order() {
        let ips = |list: &[&str]| -> Vec<_> {
            list.iter().map(|ip| Address::Ip(ip.parse().unwrap())).collect()
        };
        let given = ips(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let wanted = ips(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(interleave(given), wanted);
        assert!(interleave(Vec::new()).is_empty());
    }
}
