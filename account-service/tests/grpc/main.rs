//! The service as its callers meet it: a real socket, a tonic client, either database behind it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod apply;
mod bad_input;
mod calls;
mod crowd;
mod currency;
mod environment;
mod handshake;
mod outage;
mod refusals;
mod running;
#[expect(dead_code, reason = "here databases are known by how to connect to them")]
#[path = "../support/mod.rs"]
mod support;
