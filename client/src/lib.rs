//! A gRPC channel for any tonic stub: discovery, balancing, retries and deadlines in one place.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::BuildError> {
//! let channel = client::Channel::builder("dns:///account-service:50051")
//!     .service_config(
//!         r#"{"methodConfig": [{
//!             "name": [{"service": "account.v1.AccountService"}],
//!             "idempotent": true,
//!             "timeout": "5s",
//!             "retryPolicy": {
//!                 "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s",
//!                 "backoffMultiplier": 2,
//!                 "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
//!             }
//!         }]}"#,
//!     )
//!     .build()?;
//! # let _ = channel;
//! # Ok(())
//! # }
//! ```
//!
//! # The stack, outer to inner
//!
//! | layer | file | why it stands here |
//! |---|---|---|
//! | deadline | `call` | outermost, so that no wait below outlives it: attempts, backoff, waiting for an endpoint, the response's body |
//! | message sizes | `messages` | each message is measured once as it passes, whatever attempt carries it |
//! | record | `call::record` | sees the call as its caller does: one call, however many attempts |
//! | retry rule or hedging | `call::retry`, `call::hedge` | around the pick, so that every attempt chooses anew |
//! | replay | `call::replay` | remembers the request until one attempt is committed |
//! | pick | `call::pick`, `balance` | away from the endpoint tried last; waits here, where the call still has no place |
//! | attempt | `call::attempt`, `call::pump` | one stream; its own timeout if the policy has one |
//! | classifier | `call::classify` | says what a broken attempt allows, from what was really sent |
//! | answers | `answer` | metadata that is too long or broken, and pages of proxies, never reach the stub |
//! | place on a connection | `connection` | never more streams than the peer allows, none after GOAWAY |
//! | transport | `connection::tap` | counts what h2 keeps to itself: written headers, the last stream of a GOAWAY |
//!
//! Beside the calls one task (`pool`) owns discovery and endpoints. It works with zero traffic and
//! publishes what calls pick from; calls never wait for it while an endpoint is ready.
//!
//! # What is promised
//!
//! - A call that was never sent, or that a server refused unread, is sent elsewhere without anybody
//!   noticing. One that may have run is sent again only if its method is marked `"idempotent": true`
//!   in the service config (a key of ours; the rest of the config is the standard one, see
//!   [`ServiceConfig`]).
//! - No call outlives its deadline, and no stream ends silently without a status.
//! - Every queue and wait has a bound: calls that wait ([`Builder::waiting_max`]), bytes remembered
//!   ([`Builder::replay_bytes`]), attempts (five), lookups and connection tries (their rates). A call
//!   without a deadline that waits for ready waits as long as its caller does.
//! - What a transport failure looks like to a caller is UNAVAILABLE, as gRPC has it; [`Error`].
//! - Answers that are not read stop only themselves. Each call's unread answer is bounded by the stream
//!   window (256 KiB), a connection's together by its window (512 MiB) and by its calls under way, and a
//!   connection carries no more calls than its window has room for ([`Builder::windows`]).
//! - A connection that worked is replaced at once when it ends or is asked to leave, while the old one
//!   drains. Backoff is for failures: 1 s × 1.6 up to 120 s ([`Builder::connection_backoff`]). It ends when
//!   the resolver names an endpoint again that it had lost, and when a caller says so
//!   ([`Channel::reset_connect_backoff`]).
//! - TLS credentials from files ([`Credentials`]) are read again when the files change: new connections use
//!   the new ones, and what cannot work leaves the former in force.
//! - An endpoint that cannot be reached is a warning, the first time at once and then every five seconds at
//!   most; [`Stats::mismatch`] tells what waiting may mend from what only another setting will.
//! - A connection is replaced before its stream ids are used up ([`Builder::calls_per_connection`]).
//! - A name's address families, and the names of a list, are looked up each on its own: what answers is
//!   used after 50 ms at most, the rest joins when it comes.
//! - A server of which nothing is known is pinged as gRFC A8 asks, every five minutes and only while a
//!   call is under way; more often where it is known to be allowed ([`Builder::keepalive`]).
//! - Failing fast earns no calls: `least_request` weighs calls under way by the share of recent calls that
//!   went well, and `failureStatusCodes` (a key of ours in `outlier_detection`) says which statuses eject.
//! - An HTTP answer that is no gRPC becomes a status by the standard's table, with a message that names
//!   its HTTP status and type; metadata beyond what the server reads, or beyond
//!   [`Builder::metadata_bytes_max`], is RESOURCE_EXHAUSTED; status details that are no base64 are INTERNAL.
//!
//! # Knobs
//!
//! Per method: the service config. Per call: [`CallOptions`]. Per channel: [`Builder`], each with unit,
//! default and source. Watching: [`Channel::stats`] and the metrics below.
//!
//! # Metrics
//!
//! Through the `metrics` facade; install a recorder before building a channel. Names follow gRFC A66
//! and A96: `grpc.client.attempt.started`, `grpc.client.attempt.duration`,
//! `grpc.client.attempt.sent_total_compressed_message_size`, `.rcvd_total_compressed_message_size`,
//! `grpc.client.call.duration` (labels `grpc.method`, `grpc.target`, and for all but the first
//! `grpc.status`), `grpc.client.call.retries`, `.transparent_retries`, `.hedges`, `.retry_delay`; ours are
//! `grpc.client.attempt.failures` by `class` and `grpc.client.connections` by `event`. Methods that the
//! service config does not name share the label `other`.
//!
//! # Left out
//!
//! More than one connection to an endpoint when its stream limit is reached (gRFC A105). A call already
//! goes where there is room and waits, bounded, when there is none; a second connection to a server that
//! said how much it takes would only move the queue into that server, and every rule about an endpoint
//! (one state, its load, its ejection, one GOAWAY) would be about a set. gRPC's own default is one.
//!
//! # Own resolvers and networks
//!
//! [`resolve::Resolve`] looks addresses up (in several steps, if it can: [`resolve::Resolve::answers`]),
//! [`transport::Connect`] opens byte streams:
//!
//! ```no_run
//! use client::resolve::{Address, Resolve, Resolved, Resolving};
//!
//! /// Reads addresses from a file, one a line.
//! struct HostsFile(std::path::PathBuf);
//!
//! impl Resolve for HostsFile {
//!     fn resolve(&self) -> Resolving {
//!         let text = std::fs::read_to_string(&self.0).unwrap_or_default();
//!         let addresses =
//!             text.lines().filter_map(|line| line.parse().ok()).map(Address::Ip).collect();
//!         Box::pin(async move { Ok(Resolved { addresses, valid_for: None }) })
//!     }
//! }
//!
//! # async fn example() -> Result<(), client::BuildError> {
//! let channel = client::Channel::builder("accounts:50051")
//!     .resolver(HostsFile("/etc/accounts".into()))
//!     .build()?;
//! # let _ = channel; Ok(())
//! # }
//! ```

mod answer;
mod backoff;
mod balance;
mod body;
mod builder;
mod call;
mod capacity;
mod channel;
mod code;
mod config;
mod connection;
mod entropy;
mod error;
mod messages;
mod meters;
mod pool;
pub mod resolve;
mod shared;
mod stats;
mod target;
mod telemetry;

pub use body::Body;
pub use builder::{BuildError, Builder};
pub use call::{CallOptions, RequestBody};
pub use channel::Channel;
pub use code::{Code, CodeSet};
pub use config::{ConfigErrors, Problem, ServiceConfig};
pub use connection::failure::ConnectFailure;
pub use connection::tls::{Credentials, Tls};
pub use connection::transport;
pub use credentials::{ClientFiles as TlsFiles, Identity, Roots, TlsError};
pub use error::{BoxError, Error};
pub use stats::{EndpointState, EndpointStats, Stats};
pub use target::TargetError;
