//! `bench --budget`: what one order costs, counted.
//!
//! A pair of programs places so many orders on a PostgreSQL of its own; two pairs do so in turns. What is counted:
//!
//! - From the write-ahead log, record by record, exactly: rows, index entries, commits, records and bytes. Images of whole
//!   pages, which the first change after a checkpoint costs, are told apart: they hang on when the checkpoint was.
//! - From `pg_stat_statements`, exactly: round trips, and the buffers that statements looked at.
//! - From the system: CPU time by process, in ticks of 10 ms. This one is an estimate; it hangs on the machine and the
//!   profile, and only its ratio between two pairs in turns says much.
//!
//! The books are verified at the end: a pair that places orders wrongly has no budget.

mod count;
mod show;
mod stand;

use std::error::Error;
use std::path::{Path, PathBuf};

use tests::cluster::Binaries;

use count::Budget;
use stand::Stand;

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BudgetArgs {
    /// Count what one order costs, and nothing else
    #[arg(long)]
    budget: bool,
    /// Orders of one measurement
    #[arg(long, requires = "budget", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..))]
    orders: u64,
    /// Programs to measure instead of this build: a directory with account-service and order-service
    #[arg(long, requires = "budget", value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Programs to compare with, in turns
    #[arg(long, requires = "budget", value_name = "DIR")]
    against: Option<PathBuf>,
    /// With keys in the rows of their orders; compared with keys apart, unless there is something else to compare with
    #[arg(long, requires = "budget")]
    keys_in_orders: bool,
}

impl BudgetArgs {
    /// Whether it is asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.budget
    }
}

/// Measures, prints a table and, as its last line, one JSON object.
pub(crate) async fn run(
    args: &BudgetArgs,
    rounds: u32,
    in_flight: usize,
) -> Result<(), Box<dyn Error>> {
    eprintln!("Building and starting …");
    let mut ours = Stand::start(binaries(args.programs.as_deref())?, in_flight).await?;
    if args.keys_in_orders {
        ours.claim_in_orders().await?;
    }
    let others = match &args.against {
        Some(directory) => Some(Binaries::in_directory(directory)?),
        None if args.keys_in_orders => Some(binaries(args.programs.as_deref())?),
        None => None,
    };
    let mut theirs = match others {
        Some(others) => Some(Stand::start(others, in_flight).await?),
        None => None,
    };

    let (mut budgets, mut others) = (Vec::<Budget>::new(), Vec::<Budget>::new());
    for round in 1..=rounds.max(1) {
        eprintln!("Round {round} of {} …", rounds.max(1));
        budgets.push(ours.measure(args.orders).await?);
        if let Some(theirs) = &mut theirs {
            others.push(theirs.measure(args.orders).await?);
        }
    }

    ours.finish()?;
    if let Some(theirs) = theirs {
        theirs.finish()?;
    }
    show::show(args.orders, &budgets, &others);
    Ok(())
}

fn binaries(directory: Option<&Path>) -> Result<Binaries, tests::HarnessError> {
    directory.map_or_else(Binaries::build, Binaries::in_directory)
}
