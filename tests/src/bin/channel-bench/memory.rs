//! What an idle connection costs in memory, and that idle time costs nothing more.
//!
//! Each client is weighed in a process of its own: one that has worked before has memory to spare,
//! and its connections seem to cost nothing.

use std::process::Command;
use std::time::Duration;

use client::Channel;
use serde_json::json;
use tonic::transport::Endpoint;

use crate::servers::Servers;
use crate::{Client, Error};

const CONNECTIONS: usize = 250;
/// What connections still have to say to each other when they are just ready. No state shows its end.
const SETTLED: Duration = Duration::from_secs(1);
/// Time alone is what is tested here: each turn is enough for a keepalive ping on each connection, and
/// a single one cannot tell what grows from what is needed once.
pub(crate) const IDLE_TURN: Duration = Duration::from_secs(12);
const IDLE_TURNS: usize = 3;
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How connections are idle.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) turn: Duration,
    pub(crate) ping_every: Duration,
}

/// Weighs our channel and tonic's plain one; each prints its line.
pub(crate) fn report(servers: &Servers, idle: Idle) -> Result<(), Error> {
    let [turn, ping_every] =
        [idle.turn, idle.ping_every].map(|time| humantime::format_duration(time).to_string());
    let port = servers.addresses[0].port().to_string();
    for client in [Client::Holdfast, Client::TonicPlain] {
        let mut weighing = Command::new(std::env::current_exe()?);
        let status = weighing
            .args(["--idle", &turn, "--ping-every", &ping_every, "--weigh", client.name(), &port])
            .status()?;
        if !status.success() {
            return Err(format!("weighing {} failed", client.name()).into());
        }
    }
    Ok(())
}

/// Opens connections, waits, and prints what they took.
pub(crate) async fn weigh(client: &str, port: u16, idle: Idle) -> Result<(), Error> {
    // Every address of 127.0.0.0/8 reaches the same listener, and each is an endpoint of its own.
    let address = |last| format!("127.0.1.{last}:{port}");
    let addresses: Vec<String> = (1..=CONNECTIONS).map(address).collect();
    let before = resident_bytes()?;
    if client == Client::Holdfast.name() {
        let channel = Channel::builder(format!("static:///{}", addresses.join(",")))
            .keepalive(idle.ping_every, PING_TIMEOUT)
            .keepalive_below_floor(true)
            .keepalive_without_calls(true)
            .build()?;
        channel.until(|stats| stats.ready() == CONNECTIONS).await;
        report_growth(client, before, idle.turn).await
    } else {
        let mut channels = Vec::new();
        for address in &addresses {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
            channels.push(endpoint.connect().await?);
        }
        report_growth(client, before, idle.turn).await
    }
}

async fn report_growth(client: &str, before: usize, turn: Duration) -> Result<(), Error> {
    tokio::time::sleep(SETTLED).await;
    let connected = resident_bytes()?;
    let mut grown = Vec::new();
    for _ in 0..IDLE_TURNS {
        let before = resident_bytes()?;
        tokio::time::sleep(turn).await;
        grown.push(resident_bytes()?.saturating_sub(before));
    }
    let line = json!({
        "client": client,
        "idle_connections": CONNECTIONS,
        "bytes_per_connection": connected.saturating_sub(before) / CONNECTIONS,
        "idle_turn_s": turn.as_secs(),
        "bytes_grown_by_idle_turn": grown,
    });
    println!("{line}");
    Ok(())
}

/// From `smaps_rollup`, which counts pages; the sums in `statm` lag behind by some of them.
fn resident_bytes() -> Result<usize, Error> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("smaps_rollup has no Rss")?.trim().parse::<usize>()? * 1024)
}
