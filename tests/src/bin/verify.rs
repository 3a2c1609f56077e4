//! `cargo run -p tests --bin verify -- --account-db URL --order-db URL`, on two databases at rest.
//!
//! Prints one JSON object; exits with 1 on any breach and names the rows. What is checked: [`tests::books`].

use std::process::ExitCode;

use clap::Parser;
use database::DatabaseUrl;

/// Checks that orders and reservations agree, on two databases at rest.
#[derive(Debug, Parser)]
#[command(name = "verify")]
struct Args {
    /// The account service's database: postgres://… or sqlite://PATH
    #[arg(long, value_name = "URL")]
    account_db: DatabaseUrl,
    /// The order service's database: postgres://… or sqlite://PATH
    #[arg(long, value_name = "URL")]
    order_db: DatabaseUrl,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match tests::books::verify(&args.account_db, &args.order_db).await {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("verify: {error}");
            ExitCode::from(2)
        }
    }
}
