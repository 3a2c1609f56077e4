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
//! The stack, outer to inner: deadline → wait for an endpoint → retry (throttle, replay, classifier,
//! pushback) → pick, away from the endpoint that just failed → per-attempt timeout → the connection's
//! stream limit → h2.

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
pub use connection::tls::{Tls, TlsError};
pub use connection::transport;
pub use error::{BoxError, Error};
pub use stats::{EndpointState, EndpointStats, Stats};
pub use target::TargetError;
