//! What an idle connection costs in memory, and that idle time costs nothing more.
//!
//! Ours goes first: whoever is second finds memory that the first has given back, and looks cheaper.

use std::time::Duration;

use client::Channel;
use serde_json::json;
use tonic::transport::Endpoint;

use crate::Error;
use crate::servers::Servers;

const CONNECTIONS: usize = 250;
/// Time alone is what is tested here.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) async fn report(servers: &Servers) -> Result<(), Error> {
    // Every address of 127.0.0.0/8 reaches the same listener, and each is an endpoint of its own.
    let port = servers.addresses[0].port();
    let addresses: Vec<_> =
        (1..=CONNECTIONS).map(|last| format!("127.0.1.{last}:{port}")).collect();

    let before = resident_bytes()?;
    let channel = Channel::builder(format!("static:///{}", addresses.join(","))).build()?;
    channel.until(|stats| stats.ready() == CONNECTIONS).await;
    let ours = resident_bytes()?.saturating_sub(before);
    tokio::time::sleep(IDLE).await;
    let grown = resident_bytes()?.saturating_sub(before + ours);
    drop(channel);

    let before = resident_bytes()?;
    let mut channels = Vec::new();
    for address in &addresses {
        channels.push(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
    }
    let plain = resident_bytes()?.saturating_sub(before);
    drop(channels);
    println!(
        "{}",
        json!({
            "idle_connections": CONNECTIONS,
            "holdfast_bytes_per_connection": ours / CONNECTIONS,
            "tonic_plain_bytes_per_connection": plain / CONNECTIONS,
            "holdfast_bytes_grown_while_idle": grown,
        })
    );
    Ok(())
}

fn resident_bytes() -> Result<usize, Error> {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_ascii_whitespace().nth(1).ok_or("statm has two fields")?;
    Ok(pages.parse::<usize>()? * PAGE)
}
