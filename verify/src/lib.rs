//! `holdfast-verify`: what neither service can see alone, read off both databases while they are in use.
//!
//! - I5: each order's reservation was captured in full (and what is left of it given back if the order was cancelled), or
//!   the outbox says that it is about to be.
//! - I6: each held reservation belongs to an undecided key or to an outbox row.
//! - I11: no order lives on a reservation that was declined, released or expired.
//!
//! What it costs: two short snapshots for each range of 1,000 rows, read by primary key; no lock, no write. Memory: two
//! such pages and what differs in them, whatever the size of the books.
//!
//! From the inside out:
//!
//! - [`facts`] are what both books say, [`origin`] tells whose a reservation is, [`rules`] judge, [`plan`] says what
//!   helps. Pure.
//! - `merge` joins two pages, `read` reads them, [`walk`] goes from the first account to the last.
//! - [`show`] tells of one order, and of keys that wait. [`report`] verifies; [`repair`] plans and, through the calls in [`calls`], repairs.

pub mod args;
pub mod calls;
pub mod facts;
pub mod origin;
pub mod plan;
pub mod repair;
pub mod report;
pub mod rules;
pub mod show;
pub mod walk;

mod merge;
mod read;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use client::{BearerToken, BearerTokenError};

pub use read::ReadError;
pub use report::{Report, verify};
pub use walk::Settings;

use args::{Args, Task};
use calls::Calls;
use show::Asked;

/// How often the token's file is looked at: a repair of many orders may outlive a token.
const TOKEN_RELOAD: Duration = Duration::from_secs(10);

/// The books do not agree.
const DIFFERENT: u8 = 1;

/// The books cannot be read, or a service does not answer.
const UNREAD: u8 = 2;

/// Does what was asked for; what went wrong is said on standard error.
pub async fn run(args: Args) -> ExitCode {
    let done = match &args.task {
        Some(Task::Show { account, named }) => shown(&args, *account, &named.asked()).await,
        Some(Task::Undecided { older_than }) => undecided(&args, *older_than).await,
        None if args.repair => repaired(&args).await,
        None => verified(&args).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(UNREAD)
        }
    }
}

async fn verified(args: &Args) -> Result<bool, Box<dyn Error>> {
    let [account, order] = args.databases()?;
    let report = verify(&account, &order, args.settings()).await?;
    let line = serde_json::to_string(&report)?;
    writeln!(io::stdout(), "{line}")?;
    Ok(report.ok)
}

/// True when the books agree about this order.
async fn shown(args: &Args, account: i64, asked: &Asked) -> Result<bool, Box<dyn Error>> {
    let shown = show::show(&args.databases()?, args.settings(), account, asked).await?;
    writeln!(io::stdout(), "{shown:#}")?;
    Ok(shown["agrees"] == true)
}

async fn undecided(args: &Args, older_than: Duration) -> Result<bool, Box<dyn Error>> {
    let [_, order] = args.databases()?;
    let settings = Settings { horizon: older_than, ..args.settings() };
    for row in show::undecided(&order, settings).await? {
        writeln!(io::stdout(), "{row}")?;
    }
    Ok(true)
}

async fn repaired(args: &Args) -> Result<bool, Box<dyn Error>> {
    let targets = args.account_target.as_deref().zip(args.order_target.as_deref());
    let calls = match targets.filter(|_| args.apply) {
        Some((account, order)) => Some(Calls::new(account, order, token(args)?)?),
        None => None,
    };
    let databases = args.databases()?;
    let (settings, knowledge) = (args.settings(), args.knowledge());
    let tally =
        repair::repair(&databases, settings, knowledge, calls.as_ref(), io::stdout()).await?;

    let repair::Tally { planned, done, waits, by_hand } = tally;
    complain(&format!(
        "{done} done, {planned} planned, {waits} come about by themselves, {by_hand} left to people"
    ));
    Ok(tally.ok())
}

fn token(args: &Args) -> Result<Option<BearerToken>, BearerTokenError> {
    let file = args.token_file.as_deref();
    file.map(|file| BearerToken::from_file(file, TOKEN_RELOAD)).transpose()
}

/// For people. A closed standard error changes nothing: the exit code says the rest.
fn complain(text: &str) {
    let _read_or_not = writeln!(io::stderr(), "holdfast-verify: {text}");
}
