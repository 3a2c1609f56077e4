//! `cargo run -p tests --bin duplicates`: the whole matrix of duplicates, {10, 100, 1,000} callers × {1, 2} pods × Redis
//! {absent, up, stopped, down} × {same body, one differs} × {a pod killed midway or not}: one order each.
//!
//! Prints a line for each case and exits with 1 when one is wrong.

use std::process::ExitCode;

use clap::Parser;
use tests::duplicates::{Case, Guard, Matrix};
use tests::{HarnessError, Interrupted, unless_interrupted};

/// Sends crowds of duplicates, and finds out whether each key made one order.
#[derive(Debug, Parser)]
#[command(name = "duplicates")]
struct Args {
    /// Sizes of crowds
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "10,100,1000")]
    crowds: Vec<usize>,
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
            eprintln!("duplicates: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing is wrong.
async fn run(args: &Args) -> Result<bool, HarnessError> {
    let (mut cases, mut callers, mut wrong) = (0, 0, 0);
    for guard in Guard::ALL {
        let mut matrix = Matrix::start(guard).await?;
        for case in Case::all(&args.crowds) {
            let outcome = matrix.run(case).await?;
            let (told, took) = (outcome.told, outcome.took.as_millis());
            let cut_off = outcome.cut_off.map(|callers| format!(" with {callers} unanswered"));
            let cut_off = cut_off.unwrap_or_default();
            println!("Redis {guard:<8} {case}{cut_off}: {told} told of one order in {took} ms");
            outcome.wrong.iter().for_each(|why| println!("    WRONG: {why}"));
            (cases, callers) = (cases + 1, callers + case.callers);
            wrong += outcome.wrong.len();
        }
        let of_books = matrix.finish().await?;
        of_books.iter().for_each(|why| println!("    WRONG: {why}"));
        wrong += of_books.len();
    }
    println!(
        "{}",
        serde_json::json!({ "ok": wrong == 0, "cases": cases, "callers": callers, "wrong": wrong })
    );
    Ok(wrong == 0)
}
