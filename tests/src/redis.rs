//! A private Redis: on a port of its own, nothing kept, gone with its owner.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, ClientTlsConfig, RedisResult, TlsCertificates};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::HarnessError;
use crate::certificates::Pair;
use crate::ports::free_port;
use crate::process::{Process, User};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/redis-server";

/// Start and stop each take at most this long.
const PATIENCE: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(20);

/// A running server. Dropped, it is killed and its files are removed.
#[derive(Debug)]
pub struct Redis {
    // Field order is drop order: the server ends before its files do.
    process: Process,
    directory: TempDir,
    port: u16,
    tls: Option<RedisTls>,
}

/// What a server speaks TLS with. It asks its clients for a certificate of the same authority.
#[derive(Clone, Debug)]
pub struct RedisTls {
    /// The server's certificate and key; the harness shows them as well, as a client.
    pub pair: Pair,
    /// The certificate of their authority.
    pub ca: PathBuf,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When Redis is not installed or does not start; nothing is skipped silently.
    pub async fn start() -> Result<Self, HarnessError> {
        Self::start_with(None).await
    }

    /// As [`Redis::start`], speaking TLS and nothing else.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_with_tls(tls: RedisTls) -> Result<Self, HarnessError> {
        Self::start_with(Some(tls)).await
    }

    async fn start_with(tls: Option<RedisTls>) -> Result<Self, HarnessError> {
        let installed = Path::new(PROGRAM);
        if !installed.exists() {
            let (program, hint) = ("Redis", "apt-get install redis-server");
            return Err(HarnessError::Missing { program, hint });
        }
        let directory = TempDir::with_prefix("holdfast-redis-")
            .map_err(HarnessError::io("make a directory for Redis"))?;
        let port = free_port()?;
        let process = start(&directory, port, tls.as_ref())?;
        let mut server = Self { process, directory, port, tls };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: gone, and with it all that it knew.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<(), HarnessError> {
        self.process.signal(Signal::KILL);
        self.process.wait(PATIENCE).map(drop)
    }

    /// Starts it again after its end, empty, on the same port.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn start_again(&mut self) -> Result<(), HarnessError> {
        self.process = start(&self.directory, self.port, self.tls.as_ref())?;
        self.wait_until_it_answers().await
    }

    /// SIGSTOP: connections stay open, nobody answers.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// FLUSHALL: it forgets everything.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn flush(&self) -> RedisResult<()> {
        redis::cmd("FLUSHALL").query_async(&mut self.connect().await?).await
    }

    /// Sets keys that last for a minute, as somebody does who died with locks in hand.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fill(&self, names: impl IntoIterator<Item = String>) -> RedisResult<()> {
        let names: Vec<String> = names.into_iter().collect();
        let mut connection = self.connect().await?;
        // In pieces: an answer is waited for only so long.
        for some in names.chunks(500) {
            let mut all = redis::pipe();
            for name in some {
                all.cmd("SET").arg(name).arg("a dead one").arg("EX").arg(60).ignore();
            }
            all.query_async::<()>(&mut connection).await?;
        }
        Ok(())
    }

    /// How many keys it has.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn size(&self) -> RedisResult<u64> {
        redis::cmd("DBSIZE").query_async(&mut self.connect().await?).await
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let client = match &self.tls {
            None => Client::open(self.url())?,
            Some(tls) => {
                let client_cert = std::fs::read(&tls.pair.certificate)?;
                let client_key = std::fs::read(&tls.pair.key)?;
                let client_tls = Some(ClientTlsConfig { client_cert, client_key });
                let root_cert = Some(std::fs::read(&tls.ca)?);
                Client::build_with_tls(self.url(), TlsCertificates { client_tls, root_cert })?
            }
        };
        client.get_multiplexed_async_connection().await
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), HarnessError> {
        let began = Instant::now();
        while self.size().await.is_err() {
            if self.process.ended()?.is_some() {
                let output = self.process.log_tail();
                return Err(HarnessError::Failed { what: "Redis".to_owned(), output });
            }
            if began.elapsed() > PATIENCE {
                let log = self.directory.path().join("log");
                return Err(HarnessError::Late { what: "Redis to answer".to_owned(), log });
            }
            sleep(GLANCE).await;
        }
        Ok(())
    }
}

fn start(directory: &TempDir, port: u16, tls: Option<&RedisTls>) -> Result<Process, HarnessError> {
    let (port, path) = (port.to_string(), directory.path().display().to_string());
    let files = tls.map(|tls| {
        [&tls.pair.certificate, &tls.pair.key, &tls.ca].map(|file| file.display().to_string())
    });
    let listen = match &files {
        None => vec!["--port", &port],
        Some([certificate, key, ca]) => vec![
            "--port",
            "0",
            "--tls-port",
            &port,
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            ca,
        ],
    };
    let arguments = listen.into_iter().chain(["--bind", "127.0.0.1", "--dir", &path]).chain([
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ]);
    let log = directory.path().join("log");
    Process::start("Redis", User::Ours, Path::new(PROGRAM), arguments, &log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_forgets_when_it_is_told_to_and_when_it_is_killed() {
        let mut redis = Redis::start().await.unwrap();
        let names = || ["a", "b"].map(String::from);
        redis.fill(names()).await.unwrap();
        assert_eq!(redis.size().await.unwrap(), 2);
        redis.flush().await.unwrap();
        assert_eq!(redis.size().await.unwrap(), 0);
        redis.fill(names()).await.unwrap();
        redis.kill().unwrap();
        assert!(redis.size().await.is_err());
        redis.start_again().await.unwrap();
        assert_eq!(redis.size().await.unwrap(), 0);
    }
}
