//! Checks what neither service can see alone: that orders and reservations agree.
//!
//! `cargo run -p tests --bin verify -- --account-db URL --order-db URL`, on two databases at rest. Prints one JSON
//! object; exits with 1 on any breach and names the rows, at most [`SHOWN`] of them.
//!
//! - I5: each order's reservation was captured in full (and refunded in full if the order was cancelled), or the outbox
//!   says that it is about to be.
//! - I6: each held reservation belongs to an undecided key or to an outbox row.
//! - I11: no order lives on a reservation that was declined, released or expired.
//!
//! Memory: about 200 bytes an order.

mod books;
mod check;

use std::process::ExitCode;

use clap::Parser;
use database::DatabaseUrl;
use serde::Serialize;

use check::Breach;

/// Breaches that are shown; all are counted.
const SHOWN: usize = 100;

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

#[derive(Serialize)]
struct Report {
    ok: bool,
    checked: [&'static str; 3],
    orders: usize,
    reservations: usize,
    breaches_total: usize,
    breaches: Vec<Breach>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match verify(&args).await {
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

async fn verify(args: &Args) -> Result<Report, books::ReadError> {
    let reservations = books::reservations(&args.account_db).await?;
    let orders = books::orders(&args.order_db).await?;
    let mut breaches = check::all(&orders, &reservations);
    let breaches_total = breaches.len();
    breaches.truncate(SHOWN);
    Ok(Report {
        ok: breaches_total == 0,
        checked: ["I5", "I6", "I11"],
        orders: orders.placed.len(),
        reservations: reservations.len(),
        breaches_total,
        breaches,
    })
}
