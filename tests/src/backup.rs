//! Yesterday's backup: a database is dumped while it is in use, and put back as it was.

use std::path::PathBuf;
use std::process::Command;

use database::{DatabaseUrl, Sqlite};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;

use crate::HarnessError;
use crate::postgres::{create_database, database_url, drop_database};
use crate::process;

/// A dump of one database.
#[derive(Debug)]
pub struct Backup {
    file: PathBuf,
    _directory: TempDir,
}

impl Backup {
    /// Dumps the database at an address: with pg_dump, or by SQLite's own copy.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn take(url: &str) -> Result<Self, HarnessError> {
        let directory = TempDir::with_prefix("holdfast-backup-")
            .map_err(HarnessError::io("make a directory for a backup"))?;
        let file = directory.path().join("backup");
        match parse(url) {
            DatabaseUrl::Postgres(_) => {
                let mut dump = Command::new("pg_dump");
                dump.args(["--format=custom", "--no-owner", "--file"]).arg(&file).arg(url);
                process::run("pg_dump", &mut dump)?;
            }
            DatabaseUrl::Sqlite(path) => {
                let copy = format!("VACUUM INTO '{}'", file.display());
                let failed = |source| HarnessError::Database { what: copy.clone(), source };
                let mut connection = Sqlite::options(&path).connect().await.map_err(failed)?;
                let copied = sqlx::raw_sql(AssertSqlSafe(copy.clone()));
                copied.execute(&mut connection).await.map_err(failed)?;
                connection.close().await.map_err(failed)?;
            }
        }
        Ok(Self { file, _directory: directory })
    }

    /// Puts the database at this address back to what it was. Whoever uses a PostgreSQL database is disconnected; the
    /// programs on a SQLite file must have ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn restore(&self, url: &str) -> Result<(), HarnessError> {
        match parse(url) {
            DatabaseUrl::Postgres(address) => {
                let name = address.get_database().expect("the address of a database names it");
                let server = database_url(url, "postgres");
                drop_database(&server, name).await?;
                create_database(&server, name).await?;
                let mut restore = Command::new("pg_restore");
                restore.args(["--no-owner", "--exit-on-error", "--dbname", url]).arg(&self.file);
                process::run("pg_restore", &mut restore).map(drop)
            }
            DatabaseUrl::Sqlite(path) => {
                let log = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
                for leftover in [log("-wal"), log("-shm")] {
                    // Absent after a clean end.
                    let _gone = std::fs::remove_file(leftover);
                }
                let copied = std::fs::copy(&self.file, &path);
                copied.map(drop).map_err(HarnessError::io(format!("write {}", path.display())))
            }
        }
    }
}

fn parse(url: &str) -> DatabaseUrl {
    url.parse().expect("the harness makes addresses that are some")
}
