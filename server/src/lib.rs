//! The serving half of a gRPC service: listen, health, admin HTTP, admission, drain.
//!
//! Knows no message type; any tonic service can be served.
//!
//! ```no_run
//! # async fn serve<S>(order_service: S, descriptor_set: &'static [u8]) -> Result<(), Box<dyn std::error::Error>>
//! # where S: server::TonicService {
//! let signals = server::Signals::of_process()?;
//! let bound = server::Server::new(server::ServeConfig::on_ports(50052, 9082))
//!     .service(order_service)
//!     .reflection(descriptor_set)
//!     .readiness("database", || async { Ok(()) })
//!     .bind()
//!     .await?;
//! let summary = bound.run(signals).await;
//! # drop(summary); Ok(()) }
//! ```
//!
//! The order of leaving is in [`Bound::run`]'s module; what surrounds a call, outer to inner:
//! record and span → caller and rights → admission → deadline → panic guard → decompression and message size → the service.
//! What changes something has a line in the audit trail ([`Audit`]).
//! Requests may come compressed with gzip or zstd, for every service; answers never are. What is not gRPC is answered in
//! HTTP; gRPC-Web is served where [`ServeConfig::grpc_web`] says so.

pub mod args;
pub mod logging;

mod accept;
mod admin;
mod auth;
mod call;
mod caller;
mod complaints;
mod config;
mod connection;
mod descriptors;
mod doors;
mod exposure;
mod handshake;
mod health;
mod metrics;
mod peer;
mod phase;
mod problems;
mod program;
mod quota;
mod run;
mod server;
mod signals;
mod spread;
mod stop;
mod streams;
mod surface;
mod trail;

pub use auth::{
    Access, AuthConfig, AuthError, CertificateConfig, Forwarded, KeysError, Kind, NotOwned, Owned,
    Principal, Right, RolesError, Rules, Scope, TokenConfig,
};
pub use call::Deadline;
pub use caller::{TooMuch, hold};
pub use config::{Fairness, GrpcWeb, ServeConfig};
pub use credentials::{ServerFiles as TlsFiles, TlsError};
pub use peer::PeerCertificate;
pub use problems::Problems;
pub use program::program;
pub use quota::Hold;
pub use run::{CUT, Summary};
pub use server::{BindError, Bound, Server, TonicService};
pub use signals::{Signals, Trigger};
pub use stop::{STOP_TIMEOUT, stopped};
pub use trail::{Audit, AuditLog};
