//! The baseline: pgbench on PostgreSQL alone. What it runs is in `tests/baseline`.

use std::error::Error;
use std::time::Duration;

use tests::postgres::{Postgres, drop_database};
use tokio::process::Command;

/// Numbers of clients, of which the best counts.
const PLAIN_CLIENTS: [u32; 3] = [8, 32, 64];
/// Orders in one batch, and clients that send them.
const BATCH: u32 = 100;
const BATCH_CLIENTS: u32 = 4;

/// The name of its database.
const DATABASE: &str = "baseline";

/// Orders a second.
pub(crate) struct Rates {
    pub(crate) plain: f64,
    pub(crate) batched: f64,
}

/// One round, on a database of its own; each measurement takes so long. What it leaves behind is not the next one's to
/// write: the server writes everything to disk when its database is dropped.
pub(crate) async fn round(server: &Postgres, time: Duration) -> Result<Rates, Box<dyn Error>> {
    server.checkpoint().await?;
    let url = &server.create_database(DATABASE).await?;
    let schema = ["--quiet", "--set=ON_ERROR_STOP=1", "--file", &script("schema"), url];
    run(Command::new(server.program("psql")).args(schema)).await?;
    let mut plain = 0.0_f64;
    for clients in PLAIN_CLIENTS {
        plain = plain.max(transactions(server, "plain", clients, time, &[]).await?);
    }
    let size = format!("--define=n={BATCH}");
    let batches = transactions(server, "batched", BATCH_CLIENTS, time, &[&size]).await?;
    drop_database(&server.url("postgres"), DATABASE).await?;
    Ok(Rates { plain, batched: batches * f64::from(BATCH) })
}

/// Transactions a second of a script.
async fn transactions(
    server: &Postgres,
    name: &str,
    clients: u32,
    time: Duration,
    more: &[&str],
) -> Result<f64, Box<dyn Error>> {
    let mut pgbench = Command::new(server.program("pgbench"));
    pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]).args(more);
    pgbench.arg(format!("--client={clients}")).arg(format!("--time={}", time.as_secs().max(1)));
    pgbench.args(["--file", &script(name), &server.url(DATABASE)]);
    let printed = run(&mut pgbench).await?;
    let rate = transactions_a_second(&printed);
    rate.ok_or_else(|| format!("pgbench did not say how fast it was:\n{printed}").into())
}

fn script(name: &str) -> String {
    format!("{}/baseline/{name}.sql", env!("CARGO_MANIFEST_DIR"))
}

async fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn transactions_a_second(printed: &str) -> Option<f64> {
    let rate = printed.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rate.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_prints() {
        let printed = "latency average = 7 ms\ntps = 4512.25 (without initial connection time)\n";
        assert_eq!(transactions_a_second(printed), Some(4512.25));
        assert_eq!(transactions_a_second("nothing"), None);
    }
}
