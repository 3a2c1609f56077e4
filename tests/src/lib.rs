//! The harness: real processes, a real database, and what the demo and the tests share.
//!
//! Everything started here ends with its owner, or with the harness if that is killed. Every
//! wait has a bound, and an error shows the end of the log of whoever was waited for.

pub mod ask;
pub mod backup;
pub mod balancer;
pub mod certificates;
pub mod chaos;
pub mod clients;
pub mod cluster;
pub mod cpu;
pub mod disk;
pub mod dns;
pub mod document_b;
pub mod duplicates;
pub mod echo;
pub mod frames;
pub mod grpcurl;
pub mod load;
pub mod pgbouncer;
pub mod pods;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod report;
pub mod rows;
pub mod scenarios;
pub mod shared_postgres;
pub mod tokens;
pub mod wire_fuzz;

mod error;
mod interrupt;
pub mod ports;
mod process;

pub use error::HarnessError;
pub use interrupt::{Interrupted, interrupted, unless_interrupted};
