//! Judges the channel by what others wrote: grpc-core and grpc-js servers behind it, and a grpc-core
//! client with the same service config beside it in R1 and R4; and grpc-core and grpc-js clients with the configuration of
//! k8s/clients in front of our pods.
//!
//! Installs the pinned packages into `target/tools/oracle` once, prints a table and, a line each, JSON.
//! Exit 1 when our channel and a foreign server disagree, or when ours misses a scenario's bound. What
//! the foreign client does is shown and not judged.

mod checks;
mod foreign;
mod say;
mod tools;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::Table;
use serde::Serialize;
use tests::HarnessError;
use tests::pods;
use tests::scenarios::{self, ClientKind, Line, Role, Settings};
use tokio::process::Command;

use crate::checks::{Bench, CHECKS};
use crate::foreign::Language;
use crate::tools::Tools;

/// Asks grpc-core and grpc-js whether they agree with the channel.
#[derive(Parser)]
struct Args {
    /// Decides every random choice of our channel.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only checks whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Leave R1 and R4 out.
    #[arg(long)]
    no_rolls: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// One check against one foreign server.
#[derive(Serialize)]
struct Checked {
    check: &'static str,
    server: &'static str,
    agreed: bool,
    took_ms: u128,
    note: String,
}

/// The check of foreign clients; the others are of foreign servers.
const CLIENTS: &str = "a client with the shipped config, while pods come and go";

/// Longer than any check may take: one that hangs disagrees.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = Args::parse();
    let role = args.role.take();
    scenarios::play("oracle", role, run(&args)).await
}

/// Whether all agreed and our channel kept its bounds.
async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let tools = Tools::installed()?;
    let mut checked = Vec::new();
    for language in Language::ALL {
        let bench = Bench::start(&tools, language, args.seed).await?;
        for (name, check) in CHECKS.into_iter().filter(|(name, _)| name.contains(&args.only)) {
            let began = Instant::now();
            let verdict = tokio::time::timeout(PATIENCE, check(&bench)).await;
            let verdict = verdict.unwrap_or_else(|_| Err(format!("nothing within {PATIENCE:?}")));
            let line = Checked {
                check: name,
                server: language.name(),
                agreed: verdict.is_ok(),
                took_ms: began.elapsed().as_millis(),
                note: verdict.unwrap_or_else(|mismatch| mismatch),
            };
            println!("{}", serde_json::to_string(&line)?);
            checked.push(line);
        }
    }
    if CLIENTS.contains(args.only.as_str()) {
        for language in Language::ALL {
            let line = orders(&tools, language).await;
            println!("{}", serde_json::to_string(&line)?);
            checked.push(line);
        }
    }
    let rolls = if args.no_rolls { Vec::new() } else { rolls(args, &tools).await? };
    report_checks(&checked);
    eprintln!("{}", scenarios::table(&rolls));
    let missed = rolls.iter().any(Line::is_ours_missed);
    Ok(!missed && checked.iter().all(|line| line.agreed))
}

/// A foreign client with the configuration of k8s/clients in front of our pods.
async fn orders(tools: &Tools, language: Language) -> Checked {
    let began = Instant::now();
    let client = |target: &str, configuration: &Path| {
        let mut command = match language {
            Language::Core => Command::new(tools.python()),
            Language::Js => Command::new("node"),
        };
        let script = match language {
            Language::Core => "orders.py",
            Language::Js => "orders.mjs",
        };
        command.arg(tools.source(script)).arg(target).arg(configuration);
        if language == Language::Js {
            command.arg(tools.node());
        }
        command
    };
    let verdict = match pods::place_through_changes(client).await {
        Ok(outcomes) if outcomes.failed.is_empty() => {
            Ok(format!("0 of {} orders failed", outcomes.answered))
        }
        Ok(outcomes) => Err(format!("{outcomes:?}")),
        Err(error) => Err(error.to_string()),
    };
    Checked {
        check: CLIENTS,
        server: language.name(),
        agreed: verdict.is_ok(),
        took_ms: began.elapsed().as_millis(),
        note: verdict.unwrap_or_else(|mismatch| mismatch),
    }
}

async fn rolls(args: &Args, tools: &Tools) -> Result<Vec<Line>, HarnessError> {
    let settings = Settings {
        seed: args.seed,
        stop: Duration::from_secs(30),
        grpc_core: Some(tools.client()),
    };
    let mut lines = Vec::new();
    for scenario in ["R1", "R4"] {
        for kind in [ClientKind::Holdfast, ClientKind::GrpcCore] {
            let line = scenarios::run(scenario, kind, &settings).await?;
            println!("{}", serde_json::to_string(&line).expect("plain data"));
            lines.push(line);
        }
    }
    Ok(lines)
}

fn report_checks(checked: &[Checked]) {
    let mut table = Table::new();
    table.set_header(["", "server", "", "ms", ""]);
    for line in checked {
        let agreed = if line.agreed { "agreed" } else { "MISMATCH" };
        let took = line.took_ms.to_string();
        table.add_row([line.check, line.server, agreed, &took, &line.note]);
    }
    eprintln!("{table}");
}
