//! Servers that behave badly, frame by frame: the official negative HTTP/2 cases
//! (grpc/grpc `doc/negative-http2-interop-test-descriptions.md`) and those that decide between a lost
//! call and one that runs twice.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test by panicking")]

mod call;
mod fuzz;
mod negative;
mod peer;
mod sent_or_not;
mod split;
mod strangers;
mod unreachable;

use client::Channel;

use crate::call::CONFIG;
use crate::peer::Peer;

/// A channel to these servers with retries.
fn channel(peers: &[&Peer]) -> Channel {
    let addresses: Vec<_> = peers.iter().map(|peer| peer.address.to_string()).collect();
    let target = format!("static:///{}", addresses.join(","));
    Channel::builder(target).service_config(CONFIG).build().unwrap()
}
