//! `cargo run --release -p tests --bin wire-fuzz`: mutated requests of every method against both services, as real processes.
//!
//! Prints one line of JSON, and exits with 1 when anything happened that must not.

use std::process::ExitCode;

use clap::Parser;
use tests::cluster::{Binaries, Cluster, Plan};
use tests::{HarnessError, Interrupted, unless_interrupted, wire_fuzz};

/// Sends requests that nobody would send, and finds out whether both services stand it.
#[derive(Debug, Parser)]
#[command(name = "wire-fuzz")]
struct Args {
    /// How many requests, over all methods; FUZZ_SEED in the environment makes them others
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    requests: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wire-fuzz: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing is wrong.
async fn run(args: &Args) -> Result<bool, HarnessError> {
    let plan = Plan { account_pods: 1, order_pods: 1, ..Plan::default() };
    let mut cluster = Cluster::start(Binaries::build()?, plan).await?;
    let mut report = wire_fuzz::run(&mut cluster, args.requests).await?;
    cluster.stop()?;
    if let Err(breach) = cluster.verify() {
        report.wrong.push(breach.to_string());
    }
    println!("{}", serde_json::to_string(&report).expect("a report is JSON"));
    Ok(report.wrong.is_empty())
}
