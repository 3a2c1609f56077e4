//! `cargo run --release -p tests --bin fill -- --account-db URL --order-db URL --orders 10000000`, on an idle pair's
//! databases: history, as if the pair had been at work for months. What is written: [`tests::load::fill`].

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::load::{History, fill};

/// Writes orders of the past into both databases, which must be PostgreSQL's.
#[derive(Debug, Parser)]
#[command(name = "fill")]
struct Args {
    /// The account service's database: postgres://…
    #[arg(long, value_name = "URL")]
    account_db: String,
    /// The order service's database: postgres://…
    #[arg(long, value_name = "URL")]
    order_db: String,
    /// How many orders, of 1 each
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(i64).range(1..))]
    orders: i64,
    /// Accounts 1 to this pay for them; they must be open and have the money
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(i64).range(1..))]
    accounts: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args { account_db, order_db, orders, accounts } = Args::parse();
    let began = Instant::now();
    match fill(&account_db, &order_db, History { orders, accounts }).await {
        Ok(()) => {
            println!("{orders} orders in {:.0} s", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let why =
                std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            eprintln!("fill: {error}: {why}");
            ExitCode::FAILURE
        }
    }
}
