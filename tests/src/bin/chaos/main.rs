//! `cargo run --release -p tests --bin chaos -- --seed N --minutes M`: faults on a schedule, clients that keep every
//! answer, and a judge. See [`tests::chaos`].
//!
//! Prints one line of JSON. Exits with 1 on a breach, after the seed and the smallest histories that show it, and in a run
//! of three minutes or more also when something that must sometimes happen never did.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use failpoint::Safeguard;
use tests::chaos::{Order, Place, Report, run};
use tests::unless_interrupted;

/// Lets everything go wrong, and finds out whether an order or money was lost, doubled or made up.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// Says which faults happen when
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Length of the load
    #[arg(long, value_name = "M", default_value_t = 3.0)]
    minutes: f64,
    /// `sqlite`, or a PostgreSQL to make databases on; left out: a private PostgreSQL, which is killed too
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Let keys go into the rows of their orders
    #[arg(long)]
    keys_in_orders: bool,
    /// Services without a safeguard, built with fail points: the judge must find out
    #[arg(long, value_name = "SAFEGUARD")]
    mutate: Option<Safeguard>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let place = match args.database_url.as_deref() {
        None => Place::Private,
        Some("sqlite") => Place::Sqlite,
        Some(url) => Place::Server(url.to_owned()),
    };
    let only_postgres =
        [Safeguard::OrderUnique, Safeguard::ClaimCommit, Safeguard::BatchDuplicates];
    if matches!(place, Place::Sqlite) && args.mutate.is_some_and(|off| only_postgres.contains(&off))
    {
        eprintln!("chaos: this safeguard can be switched off on PostgreSQL only");
        return ExitCode::from(2);
    }
    let Ok(length) = Duration::try_from_secs_f64(60.0 * args.minutes) else {
        eprintln!("chaos: --minutes must be a positive number");
        return ExitCode::from(2);
    };
    let order = Order {
        seed: args.seed,
        length,
        place,
        without: args.mutate,
        keys_in_orders: args.keys_in_orders,
    };
    match unless_interrupted(run(&order)).await {
        Ok(Ok(report)) => tell(&report),
        Ok(Err(error)) => {
            eprintln!("chaos: seed {}: {error}", args.seed);
            ExitCode::from(2)
        }
        Err(interrupted) => interrupted.exit_code(),
    }
}

fn tell(report: &Report) -> ExitCode {
    println!("{}", serde_json::to_string(report).expect("a report is plain data"));
    for breach in &report.breaches {
        eprintln!("seed {}: {:?}: {}", report.seed, breach.rule, breach.why);
        breach.history.iter().for_each(|operation| eprintln!("    {operation}"));
    }
    if report.ok {
        return ExitCode::SUCCESS;
    }
    if report.breaches_total == 0 {
        eprintln!("seed {}: never happened: {}", report.seed, report.never.join(", "));
    }
    ExitCode::FAILURE
}
