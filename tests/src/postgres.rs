//! A private PostgreSQL: made for one test or one demo, on a port of its own, gone afterwards.
//!
//! fsync stays on: what the tests prove about crashes and what the reports say about speed
//! would mean nothing without it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::HarnessError;
use crate::ports::free_port;
use crate::process::{self, Process, User, command_as};

/// Start, recovery after a crash, and stop each take at most this long.
const PATIENCE: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(50);

/// A running server. Dropped, it is stopped and its files are removed.
#[derive(Debug)]
pub struct Postgres {
    // Field order is drop order: the server ends before its files do.
    process: Process,
    directory: TempDir,
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
}

impl Postgres {
    /// Makes and starts a server.
    ///
    /// # Errors
    /// [`HarnessError::Missing`] when PostgreSQL is not installed; nothing is skipped silently.
    pub async fn start() -> Result<Self, HarnessError> {
        Self::start_with(&[]).await
    }

    /// As [`Postgres::start`], with more settings (`name=value`); the last word on a name counts.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_with(settings: &[&str]) -> Result<Self, HarnessError> {
        let programs = programs().ok_or(HarnessError::Missing {
            program: "PostgreSQL",
            hint: "apt-get install postgresql",
        })?;
        let directory = Self::directory()?;
        let mut initdb = command_as(User::Postgres, &[]);
        initdb.arg(programs.join("initdb")).arg("--pgdata").arg(data_of(&directory));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]);
        // What initdb writes need not survive a crash before the server first starts.
        process::run("initdb", initdb.arg("--no-sync"))?;
        let port = free_port()?;
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let process = start(&programs, &directory, port, &settings)?;
        let mut server = Self { process, directory, programs, port, settings };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Starts a standby of this server, which follows it without being waited for. Its name as a standby is `standby`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn start_standby(&self) -> Result<Self, HarnessError> {
        let directory = Self::directory()?;
        let mut copy = command_as(User::Postgres, &[]);
        copy.arg(self.programs.join("pg_basebackup")).arg("--pgdata").arg(data_of(&directory));
        let primary =
            format!("host=127.0.0.1 port={} user=postgres application_name=standby", self.port);
        copy.args(["--dbname", &primary, "--write-recovery-conf", "--checkpoint=fast"]);
        process::run("pg_basebackup", copy.arg("--no-sync"))?;

        let (port, programs, settings) = (free_port()?, self.programs.clone(), Vec::new());
        let process = start(&programs, &directory, port, &settings)?;
        let mut standby = Self { process, directory, programs, port, settings };
        standby.wait_until_it_answers().await?;
        Ok(standby)
    }

    /// Makes a standby the primary.
    ///
    /// # Errors
    /// When it does not become one.
    pub async fn promote(&self) -> Result<(), HarnessError> {
        execute(&self.url("postgres"), "SELECT pg_promote(true, 60)".to_owned()).await
    }

    /// Changes a setting of the running server.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), HarnessError> {
        let server = self.url("postgres");
        execute(&server, format!("ALTER SYSTEM SET {name} = '{value}'")).await?;
        execute(&server, "SELECT pg_reload_conf()".to_owned()).await
    }

    fn directory() -> Result<TempDir, HarnessError> {
        let directory = TempDir::with_prefix("holdfast-postgres-")
            .map_err(HarnessError::io("make a directory for PostgreSQL"))?;
        if rustix::process::getuid().is_root() {
            process::run("chown", Command::new("chown").arg("postgres").arg(directory.path()))?;
        }
        Ok(directory)
    }

    /// The server's first process, as long as it runs; its children do the work.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// One of the programs that came with it, such as `pgbench`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The address of a database of this server.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and answers its address.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<String, HarnessError> {
        create_database(&self.url("postgres"), name).await?;
        Ok(self.url(name))
    }

    /// Writes to disk what is not there yet, so that what comes next does not pay for what was before.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn checkpoint(&self) -> Result<(), HarnessError> {
        execute(&self.url("postgres"), "CHECKPOINT".to_owned()).await
    }

    /// As [`Postgres::create_database`], with its tables in a directory of their own; what it commits is logged where the
    /// server logs.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database_in(
        &self,
        name: &str,
        directory: &Path,
    ) -> Result<String, HarnessError> {
        if rustix::process::getuid().is_root() {
            process::run("chown", Command::new("chown").arg("postgres").arg(directory))?;
        }
        let (server, space, path) = (self.url("postgres"), quoted(name), directory.display());
        execute(&server, format!("CREATE TABLESPACE {space} LOCATION '{path}'")).await?;
        execute(&server, format!("CREATE DATABASE {space} TABLESPACE {space}")).await?;
        Ok(self.url(name))
    }

    /// Ends the server as a power cut would: no connection is told, nothing is flushed.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<(), HarnessError> {
        // SIGKILL to the postmaster alone; its children notice and leave.
        self.process.signal(Signal::KILL);
        self.process.wait(PATIENCE).map(drop)
    }

    /// Ends the server in order; its clients are told.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<(), HarnessError> {
        self.process.signal(Signal::INT);
        self.process.wait(PATIENCE).map(drop)
    }

    /// Starts it again after its end, on the same port and files, and waits until it answers,
    /// recovery from a crash included.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn start_again(&mut self) -> Result<(), HarnessError> {
        let began = Instant::now();
        loop {
            self.process = start(&self.programs, &self.directory, self.port, &self.settings)?;
            // Children of a killed postmaster may hold the shared memory for a moment.
            match self.wait_until_it_answers().await {
                Err(HarnessError::Failed { .. }) if began.elapsed() < PATIENCE => {
                    sleep(GLANCE).await;
                }
                answered => return answered,
            }
        }
    }

    /// Stops the server and starts it again so near to the end of its transaction ids that it refuses to draw more.
    ///
    /// Only a replication slot keeps the server from making room by itself, so the server must have been started with
    /// `wal_level=logical`; to drop the slot `held` and VACUUM ends it.
    ///
    /// # Errors
    /// When the server or its tools refuse.
    pub async fn use_up_transaction_ids(&mut self, database: &str) -> Result<(), HarnessError> {
        const HOLD: &str = "SELECT pg_create_logical_replication_slot('held', 'pgoutput')";
        execute(&self.url(database), HOLD.to_owned()).await?;
        self.stop()?;

        // Just past where the server stops: three million before the oldest id would come round again.
        let next = (1_u64 << 31) - 3_000_000 + 10_000;
        let data = data_of(&self.directory);
        let mut reset = command_as(User::Postgres, &[]);
        reset.arg(self.program("pg_resetwal")).args(["-x", &next.to_string()]).arg(&data);
        process::run("pg_resetwal", &mut reset)?;
        // The file in which the state of that transaction would be; all in it are in progress.
        let states = data.join("pg_xact").join(format!("{:04X}", next >> 20));
        std::fs::write(&states, vec![0; 256 * 1024])
            .map_err(HarnessError::io("write states of transactions"))?;
        if rustix::process::getuid().is_root() {
            process::run("chown", Command::new("chown").arg("postgres").arg(states))?;
        }
        self.start_again().await
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), HarnessError> {
        let (url, began) = (self.url("postgres"), Instant::now());
        while PgConnection::connect(&url).await.is_err() {
            if self.process.ended()?.is_some() {
                let output = self.process.log_tail();
                return Err(HarnessError::Failed { what: "PostgreSQL".to_owned(), output });
            }
            if began.elapsed() > PATIENCE {
                let what = "PostgreSQL to answer".to_owned();
                return Err(HarnessError::Late { what, log: log_of(&self.directory) });
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: the files go away anyway. Dropping the process kills what is left.
        self.process.signal(Signal::QUIT);
        let _ended_or_killed_next = self.process.wait(Duration::from_secs(5));
    }
}

/// Makes an empty database on the server that `url` leads to.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn create_database(url: &str, name: &str) -> Result<(), HarnessError> {
    execute(url, format!("CREATE DATABASE {}", quoted(name))).await
}

/// Removes a database, ending whoever still uses it. Absent is fine.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn drop_database(url: &str, name: &str) -> Result<(), HarnessError> {
    execute(url, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))).await
}

/// The address of another database on the same server: what stands between the host and any `?` is
/// replaced.
#[must_use]
pub fn database_url(server: &str, database: &str) -> String {
    let (address, parameters) = match server.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (server, String::new()),
    };
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let host_end = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    format!("{}/{database}{parameters}", &address[..host_end])
}

async fn execute(url: &str, statement: String) -> Result<(), HarnessError> {
    let failed = |source| HarnessError::Database { what: statement.clone(), source };
    let mut connection = PgConnection::connect(url).await.map_err(failed)?;
    // Database names cannot be bound; `quoted` made this one safe.
    let executed = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await;
    executed.map_err(failed)?;
    connection.close().await.map_err(failed)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn start(
    programs: &Path,
    directory: &TempDir,
    port: u16,
    more: &[String],
) -> Result<Process, HarnessError> {
    let mut arguments = vec![format!("-D{}", data_of(directory).display())];
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", directory.path().display()),
        "max_connections=200".to_owned(),
        "shared_buffers=256MB".to_owned(),
    ];
    arguments
        .extend(settings.iter().chain(more).flat_map(|setting| ["-c".to_owned(), setting.clone()]));
    let program = programs.join("postgres");
    Process::start("PostgreSQL", User::Postgres, &program, arguments, &log_of(directory))
}

fn data_of(directory: &TempDir) -> PathBuf {
    directory.path().join("data")
}

fn log_of(directory: &TempDir) -> PathBuf {
    directory.path().join("log")
}

/// Where a server's programs are that tests are to run on instead of Debian's: CONTRIBUTING says how to get other versions.
const PROGRAMS: &str = "HOLDFAST_POSTGRES_BIN";

/// Where the programs of the chosen or else of the newest installed server are.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness has no flags where `cargo test` starts it"
)]
#[must_use]
pub fn programs() -> Option<PathBuf> {
    if let Some(chosen) = std::env::var_os(PROGRAMS) {
        return Some(chosen.into());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let numbered = versions.flatten().filter_map(|version| {
        let number: u32 = version.file_name().to_str()?.parse().ok()?;
        let programs = version.path().join("bin");
        programs.join("initdb").exists().then_some((number, programs))
    });
    numbered.max().map(|(_, programs)| programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_committed_survives_a_kill_and_a_restart() {
        let mut server = Postgres::start().await.unwrap();
        let url = server.create_database("books").await.unwrap();
        execute(&url, "CREATE TABLE kept AS SELECT 1 AS one".to_owned()).await.unwrap();
        server.kill().unwrap();
        assert!(PgConnection::connect(&url).await.is_err());
        server.start_again().await.unwrap();
        execute(&url, "INSERT INTO kept VALUES (2)".to_owned()).await.unwrap();
    }

    #[test]
    fn the_database_of_an_address_is_replaced_and_nothing_else() {
        for (server, expected) in [
            ("postgres://me:pw@host:1/postgres", "postgres://me:pw@host:1/orders"),
            ("postgres://host", "postgres://host/orders"),
            ("postgres://host/?sslmode=disable", "postgres://host/orders?sslmode=disable"),
        ] {
            assert_eq!(database_url(server, "orders"), expected);
        }
    }

    #[tokio::test]
    async fn databases_are_made_once_and_dropped_by_name() {
        let server = Postgres::start().await.unwrap();
        let (maintenance, name) = (server.url("postgres"), "odd \"name\"");
        create_database(&maintenance, name).await.unwrap();
        let twice = create_database(&maintenance, name).await.unwrap_err();
        assert!(matches!(twice, HarnessError::Database { .. }), "{twice}");
        drop_database(&maintenance, name).await.unwrap();
        create_database(&maintenance, name).await.unwrap();
    }
}
