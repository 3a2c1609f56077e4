//! The servers that the clients are measured against: tonic's own, three listeners in one process.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tests::echo::Echo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::server::TcpIncoming;

use crate::Error;

pub(crate) struct Servers {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Killed with its owner.
    _process: Child,
}

const COUNT: u32 = 3;

impl Servers {
    pub(crate) async fn start() -> Result<Self, Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("the servers have no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut addresses = Vec::new();
        for _ in 0..COUNT {
            let line = lines.next_line().await?.ok_or("the servers said nothing")?;
            addresses.push(line.parse()?);
        }
        Ok(Self { addresses, _process: process })
    }
}

/// Listens on three ports, prints them, and serves until standard input ends, as it does when the
/// benchmark dies.
pub(crate) async fn serve() -> Result<(), Error> {
    for server in 0..COUNT {
        let incoming = TcpIncoming::bind("0.0.0.0:0".parse()?)?.with_nodelay(Some(true));
        println!("127.0.0.1:{}", incoming.local_addr()?.port());
        let router = tonic::transport::Server::builder().add_service(Echo::new(
            server,
            Duration::ZERO,
            None,
        ));
        tokio::spawn(router.serve_with_incoming(incoming));
    }
    let until_closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(until_closed).await??;
    Ok(())
}
