//! pgbouncer in front of a PostgreSQL, in the mode that a test wants.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    HarnessError,
    ports::free_port,
    process::{self, Process, User},
};

const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// Where Debian installs it: not on the path of those who are not root.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// When a server's connection goes to another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// At the end of each transaction.
    Transaction,
    /// After each statement.
    Statement,
}

/// A running pooler. Dropped, it is stopped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    _directory: TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts one in front of the server on this port of this machine.
    ///
    /// # Errors
    /// [`HarnessError::Missing`] when it is not installed; nothing is skipped silently.
    pub async fn start(server_port: u16, mode: PoolMode) -> Result<Self, HarnessError> {
        if !std::path::Path::new(PROGRAM).exists() {
            return Err(HarnessError::Missing {
                program: "pgbouncer",
                hint: "apt-get install pgbouncer",
            });
        }
        let directory = TempDir::with_prefix("holdfast-pgbouncer-")
            .map_err(HarnessError::io("make a directory for pgbouncer"))?;
        let (port, home) = (free_port()?, directory.path());
        let (settings, users) = (home.join("pgbouncer.ini"), home.join("users"));
        let written = std::fs::write(&users, "\"postgres\" \"\"\n").and_then(|()| {
            std::fs::write(&settings, configuration(server_port, port, mode, &users))
        });
        written.map_err(HarnessError::io("write pgbouncer's settings"))?;
        if rustix::process::getuid().is_root() {
            let mut chown = std::process::Command::new("chown");
            process::run("chown", chown.args(["-R", "postgres"]).arg(home))?;
        }

        let log = home.join("log");
        let process =
            Process::start("pgbouncer", User::Postgres, PROGRAM.as_ref(), [&settings], &log)?;
        let mut pooler = Self { process, _directory: directory, port };
        pooler.wait_until_it_listens().await?;
        Ok(pooler)
    }

    /// The address of a database behind it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), HarnessError> {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if self.process.ended()?.is_some() || began.elapsed() > PATIENCE {
                let output = self.process.log_tail();
                return Err(HarnessError::Failed { what: "pgbouncer".to_owned(), output });
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Immediate; dropping the process kills what is left.
        self.process.signal(Signal::TERM);
    }
}

/// As Debian ships it, but for where it listens and whom it trusts.
fn configuration(server: u16, port: u16, mode: PoolMode, users: &std::path::Path) -> String {
    let mode = match mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
        PoolMode::Statement => "statement",
    };
    format!(
        "[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {}
pool_mode = {mode}
",
        users.display()
    )
}
