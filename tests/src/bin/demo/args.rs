//! The demo's flags.

use clap::Parser;

/// Starts both services as real processes, sends crowds of requests with one idempotency key,
/// shows that each crowd makes one order, and stays up for you to try.
#[derive(Debug, Parser)]
#[command(name = "cargo demo --")]
pub(crate) struct Args {
    /// Exit after the table; 1 when anything is off. The last line is one JSON object
    #[arg(long)]
    pub(crate) once: bool,
    /// A PostgreSQL server to make two databases on, for example
    /// postgres://postgres@localhost/postgres; SQLite files without it
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Start a PostgreSQL server for this demo alone
    #[arg(long, conflicts_with = "database_url")]
    pub(crate) private_postgres: bool,
}
