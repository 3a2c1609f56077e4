//! `cargo demo`: both services as real processes, document B's test, grpcurl commands to paste.

mod args;
mod commands;
mod databases;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::clients::Clients;
use tests::cluster::{Binaries, Cluster, Plan};
use tests::document_b::{self, Report};
use tests::{interrupted, unless_interrupted};

use args::Args;
use databases::DemoDatabases;

#[tokio::main]
async fn main() -> ExitCode {
    match demonstrate(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{}", with_causes(why.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// True when everything is as document B wants it.
async fn demonstrate(args: Args) -> Result<bool, Box<dyn Error>> {
    println!("Building account-service and order-service …");
    let binaries = Binaries::build()?;
    let databases = DemoDatabases::make(&args).await?;
    println!("Starting 2 + 2 pods on {} …", databases.kind());
    let began = Instant::now();
    let plan = Plan { databases: databases.given(), ..Plan::default() };
    let mut cluster = Cluster::start(binaries, plan).await?;
    println!("Ready after {:.1} s.\n", began.elapsed().as_secs_f64());

    let clients = Clients::connect(&cluster).await?;
    let report = unless_interrupted(document_b::run_all(&clients, 1)).await??;
    drop(clients);
    println!("An account of 100,000 buys one piece at 10,000 of a stock of 100:\n");
    println!("{}", document_b::table(&report));
    for figures in report.runs.iter().filter(|figures| !figures.ok) {
        println!("not as it has to be: {figures:?}");
    }
    if !args.once {
        println!("{}", commands::to_paste(&cluster));
        interrupted().await;
        println!("\nStopping …");
    }
    cluster.stop()?;
    let ok = settle(&report, &cluster);
    databases.remove().await?;
    Ok(ok)
}

/// The books are checked at rest, and with `--once` the last line is for machines.
fn settle(report: &Report, cluster: &Cluster) -> bool {
    let mut report = report.clone();
    if let Err(breach) = cluster.verify() {
        eprintln!("{breach}");
        report.ok = false;
    }
    println!("{}", report.json());
    report.ok
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}
