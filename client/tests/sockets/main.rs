//! The channel over the system's own sockets: a tonic stub, TLS, a Unix socket.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test by panicking")]

mod dns;
mod stub;
mod tls;
mod unix;
