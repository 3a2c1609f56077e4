//! Runs R1–R15 and prints a table and, a line each, JSON. Exit 1 when our channel misses a bound.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use comfy_table::Table;
use tests::HarnessError;
use tests::scenarios::{self, ClientKind, Line, PodArgs, SCENARIOS, Settings};

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
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Be a server (started by the scenarios themselves).
    #[command(hide = true)]
    Pod(PodArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    if let Some(Command::Pod(pod)) = args.command.take() {
        return match scenarios::serve_pod(pod).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&*error),
        };
    }
    match run(&args).await {
        Ok(lines) => report(&lines),
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("scenarios: {error}");
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Result<Vec<Line>, HarnessError> {
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
                println!("{}", serde_json::to_string(&line).expect("plain data"));
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

fn report(lines: &[Line]) -> ExitCode {
    let mut table = Table::new();
    table.set_header([
        "", "client", "calls", "failed", "retries", "twice", "p50 ms", "p99 ms", "max ms", "", "",
    ]);
    for line in lines {
        let kept = if line.kept { "kept" } else { "MISSED" };
        table.add_row([
            line.scenario.to_owned(),
            line.client.to_owned(),
            line.calls.to_string(),
            line.failed.to_string(),
            line.retries.to_string(),
            line.duplicates.to_string(),
            format!("{:.1}", line.p50_ms),
            format!("{:.1}", line.p99_ms),
            format!("{:.1}", line.max_ms),
            kept.to_owned(),
            line.note.clone(),
        ]);
    }
    eprintln!("{table}");
    let missed = lines.iter().any(|line| line.client == "holdfast" && !line.kept);
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
