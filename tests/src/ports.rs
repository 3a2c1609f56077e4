//! Ports for servers of our own.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::HarnessError;

/// Below those that Linux gives to outgoing connections: a server that starts later, or again, finds its port free,
/// whatever clients do meanwhile.
const PORTS: Range<u16> = 10_000..32_000;

/// A port that nobody uses now, on whichever IPv4 address, and that this process has not named before.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16, HarnessError> {
    static NAMED: AtomicUsize = AtomicUsize::new(0);
    // Processes side by side begin at different ones.
    let begin = 61 * std::process::id() as usize;
    let next = || PORTS.clone().nth((begin + NAMED.fetch_add(1, Ordering::Relaxed)) % PORTS.len());
    let found = PORTS.filter_map(|_| next()).find(|port| is_free(*port));
    found.ok_or_else(|| HarnessError::io("find a free port")(ErrorKind::AddrInUse.into()))
}

/// Whether nobody listens there, on any IPv4 address.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_named_once_and_no_client_can_be_on_it() {
        let named: BTreeSet<_> = (0..100).map(|_| free_port().unwrap()).collect();
        assert_eq!(named.len(), 100);
        assert!(named.iter().all(|port| PORTS.contains(port)));
    }

    #[test]
    fn a_port_is_taken_whichever_address_somebody_listens_on() {
        let port = free_port().unwrap();
        assert!(is_free(port));
        let _listens = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), port)).unwrap();
        assert!(!is_free(port));
    }
}
