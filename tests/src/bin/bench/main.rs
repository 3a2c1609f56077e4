//! `cargo run --release -p tests --bin bench`: the pair beside PostgreSQL alone, in one run.
//!
//! In every round, one after the other and on one PostgreSQL server with fsync on: pgbench with the
//! steps of an order as bare SQL ([`pgbench`]), then the pair's measurements ([`pair`]); before
//! either begins, the server has written down what the other left. Medians over the rounds count,
//! and ratios more than figures. Prints a table and, as its last line, one JSON object. Exits with
//! 1 when a request failed or an invariant is broken: such a run has no figures.
//!
//! With `--budget` it counts instead what one order costs, of these programs or of two in turns ([`budget`]).

mod budget;
mod pair;
mod pgbench;
mod show;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mimalloc::MiMalloc;

use budget::BudgetArgs;
use pair::Pair;
use show::{Growth, Round, Single};
use tests::load::Figures;
use tests::{Interrupted, unless_interrupted};

/// Measures the pair beside PostgreSQL alone.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
struct Args {
    /// Rounds
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of one measurement
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Length of document A's load at the end
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    seed_time: Duration,
    /// At the very end, write so many orders of the past into the databases and compare
    #[arg(long, value_name = "ORDERS", value_parser = clap::value_parser!(i64).range(1..))]
    grow: Option<i64>,
    /// Requests under way at any time
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    #[command(flatten)]
    budget: BudgetArgs,
}

/// What the services have, too: the generator is not to be what is slow.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// One thread, as the services have: see `WORKER_THREADS` there.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    let args = Args::parse();
    let done = match args.budget.is_asked() {
        true => budget::run(&args.budget, args.rounds, args.in_flight).await.map(|()| true),
        false => run(&args).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// True when nothing failed.
async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    eprintln!("Building and starting a pair on PostgreSQL …");
    let mut pair = Pair::start(args.time, args.in_flight).await?;
    let mut rounds = Vec::new();
    for number in 1..=args.rounds.max(1) {
        eprintln!("Round {number} of {} …", args.rounds.max(1));
        rounds.push(round(&mut pair, args.time).await?);
    }
    eprintln!("Document A's load for {:?}, and document B's crowds …", args.seed_time);
    let single = Single {
        seed: pair.seed(args.seed_time).await?,
        orders_of_one: pair.orders_of_one().await?,
        one_by_one: pair.one_by_one().await?,
        refusals: pair.refusals().await?,
        crowds: pair.crowds().await?,
    };
    let growth = match args.grow {
        Some(orders) => Some(grow(&mut pair, args.rounds, orders).await?),
        None => None,
    };
    let starts = pair.starts().await?;
    let books = pair.finish().await?;
    Ok(show::show(&rounds, &single, growth.as_ref(), starts, &books))
}

/// The same load before and after the databases have grown.
async fn grow(pair: &mut Pair, rounds: u32, orders: i64) -> Result<Growth, Box<dyn Error>> {
    let before = several(pair, rounds).await?;
    eprintln!("Writing {orders} orders of the past …");
    pair.fill(orders).await?;
    Ok(Growth { orders, before, after: several(pair, rounds).await? })
}

async fn several(pair: &mut Pair, rounds: u32) -> Result<Vec<Figures>, Box<dyn Error>> {
    let mut all = Vec::new();
    for _ in 0..rounds.max(1) {
        all.push(pair.orders().await?);
    }
    Ok(all)
}

async fn round(pair: &mut Pair, time: Duration) -> Result<Round, Box<dyn Error>> {
    let rates = pgbench::round(pair.server(), time).await?;
    Ok(Round {
        rates,
        orders: pair.orders().await?,
        orders_of_many: pair.orders_of_many().await?,
        all_accounts: pair.all_accounts().await?,
        hot_account: pair.hot_account().await?,
        flash_sale: pair.flash_sale().await?,
        resident_mib: pair.resident_mib(),
    })
}
