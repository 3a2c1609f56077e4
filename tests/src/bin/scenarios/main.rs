//! Runs R1–R15 and prints a table and, a line each, JSON. Exit 1 when our channel misses a bound.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::scenarios::{self, ClientKind, Line, Role, SCENARIOS, Settings};

/// What the channel is judged by, beside tonic's.
#[derive(Parser)]
struct Args {
    /// Decides every random choice of our channel.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these, for example `R6` or `R1,R4`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Times each scenario is run, each with the next seed.
    #[arg(long, default_value_t = 1)]
    repeat: u64,
    /// Only our own channel.
    #[arg(long)]
    ours: bool,
    /// How long R8 stops a server.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    stop: Duration,
    #[command(subcommand)]
    role: Option<Role>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    let role = args.role.take();
    scenarios::play("scenarios", role, run(&args)).await
}

/// Whether our channel kept every bound.
async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut lines = Vec::new();
    for round in 0..args.repeat {
        let settings = Settings { seed: args.seed + round, stop: args.stop, grpc_core: None };
        for (name, about) in SCENARIOS.into_iter().filter(|(name, _)| wanted(name)) {
            eprintln!("{name}: {about} (seed {})", settings.seed);
            for kind in ClientKind::ALL {
                // R13 is about the server; the others bring nothing to it.
                let alone = args.ours || name == "R13";
                if alone && kind != ClientKind::Holdfast {
                    continue;
                }
                let line = scenarios::run(name, kind, &settings).await?;
                println!("{}", serde_json::to_string(&line)?);
                lines.push(line);
            }
        }
    }
    eprintln!("{}", scenarios::table(&lines));
    Ok(!lines.iter().any(Line::is_ours_missed))
}
