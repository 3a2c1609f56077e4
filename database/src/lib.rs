//! Connections owned by batching workers.
//!
//! A request handler never touches a connection: it hands a job to a [`lane`], whose worker owns one long-lived
//! [`Session`] and runs whatever is waiting as one batch, in one transaction. Two reasons:
//!
//! - *Speed.* A batch shares the round trips and the fsync. While one batch is on its way the next one gathers, so
//!   batches grow with load and an idle system adds no delay.
//! - *Safety.* A handler is dropped when its caller leaves. A transaction dropped midway poisons a pooled connection;
//!   a worker is never dropped, and work once begun is finished.
//!
//! This crate knows no table of its users; those by which it notices that a database went back in time are its own
//! ([`lineage`]). It promises: a transaction either committed, did not, or is reported as
//! [`StoreError::OutcomeUnknown`]; every wait, retry and queue has a bound, written next to it; a connection that
//! misbehaved is thrown away, never reused.

pub mod backend;
mod diagnosis;
pub mod error;
mod exposure;
pub mod fault;
mod flows;
pub mod lane;
pub mod lineage;
pub mod migrating;
pub mod pool;
pub mod postgres;
pub mod readiness;
pub mod session;
mod sqlite;
mod sqlstate;
mod unfit;
pub mod url;

pub use backend::Backend;
pub use error::StoreError;
pub use fault::{Diagnosis, Fault, Reason};
pub use lineage::{Discontinuity, Lineage, Position};
pub use migrating::migrate_within;
pub use postgres::{PgOptions, Postgres};
pub use readiness::{Needs, Unready};
pub use session::{Session, Transaction};
pub use sqlite::Sqlite;
pub use unfit::Unfit;
pub use url::DatabaseUrl;
