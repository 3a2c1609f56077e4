//! `cargo run --release -p tests --bin rollout`: pods come and go, and no request fails.
//!
//! A thousand clients place orders at a steady pace, through the balancer, each on a connection of
//! its own, while pods are rolled, deleted, killed, scaled and their database is restarted. Latency
//! counts from when a request was due. In the end every answer is held against the books.
//!
//! Prints a table, then JSON: a line an event, and one for the run. `--report FILE` draws it.

mod args;
mod audit;
mod callers;
mod happen;
mod kubectl;
mod measure;
mod plan;
mod progress;
mod run;
mod scene;
mod show;
mod stage;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

use args::Args;
use stage::Mode;
use tests::{Interrupted, unless_interrupted};

#[tokio::main]
async fn main() -> ExitCode {
    allow_open_files();
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    match rollout(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("rollout: {why}");
            ExitCode::FAILURE
        }
    }
}

/// True when everything is as it should be.
async fn rollout(args: &Args) -> Result<bool, Box<dyn Error>> {
    let seed = args.seed.unwrap_or_else(drawn);
    eprintln!("Seed {seed}");
    let (ours, record) = match &args.target {
        Some(target) => run::on_target(args, target, seed).await?,
        None => run::on_pods(args, Mode::Holdfast, seed).await?,
    };
    let control = match args.control {
        true => Some(run::on_pods(args, Mode::Control, seed).await?.0),
        false => None,
    };
    let mut runs = vec![("holdfast", &ours)];
    runs.extend(control.as_ref().map(|control| ("control", control)));
    show::print(&runs);
    if let Some(path) = &args.report {
        show::write(&runs, &record, path)?;
    }
    if let Some(reckoning) = &ours.reckoning {
        for what in reckoning.out_of_order.iter().chain(&reckoning.breach) {
            eprintln!("not as it should be: {what}");
        }
    }
    // A control without failures says that this program cannot see any.
    let control_fails = control.is_none_or(|control| control.graceful.failed > 0);
    if !control_fails {
        eprintln!("the control has no failures: what is shown above proves nothing");
    }
    Ok(ours.is_ok() && control_fails)
}

/// As many open files as the system lets this program have: three a client, and the pods inherit it.
/// Where that is too few, connections fail and are seen to.
fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _raised_or_as_before = setrlimit(Resource::Nofile, limit);
}

/// Drawn from the operating system, by way of the standard library's hash keys; half of a 64-bit
/// number is easier to type again.
fn drawn() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}
