//! `cargo run --release -p tests --bin load`: load on the pair, and how it fared.
//!
//! Prints a table and, as its last line, one JSON object. Exits with 1 when a request failed or an
//! invariant is broken.

mod args;
mod duplicates;
mod progress;
mod show;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use client::BearerToken;
use mimalloc::MiMalloc;
use proto::order::v1::OnDuplicate;
use tests::load::{
    Accounts, Connections, CpuUse, Measured, Mix, Opening, Orders, Plan, Products, Record,
    Reserves, Stage, measure, open_accounts, put_products,
};
use tests::{Interrupted, unless_interrupted};

use args::{Args, Call, Profile, Requests};
use progress::Memory;

/// Enough for all of a run, and the sum of all accounts' is still far from the limit.
const OPENING_BALANCE: u64 = 1_000_000_000;

/// How often the token's file is looked at.
const TOKEN_RELOAD: Duration = Duration::from_secs(10);

/// What the services have, too: the generator is not to be what is slow.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// One thread, as the services have: see `WORKER_THREADS` there.
#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    match run(&Args::parse().with_profile()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

/// True when nothing failed.
async fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    if args.profile == Some(Profile::Duplicates) {
        return duplicates::run(args).await;
    }
    let stage = match args.target.is_empty() {
        true => Some(start(args).await?),
        false => None,
    };
    let [accounts, orders] = connect(args, stage.as_ref()).await?;
    prepare(&args.requests, &accounts, &orders).await?;
    let memory = Memory::default();
    let Measured { figures, record, .. } =
        put_on(args, accounts, orders, stage.as_ref(), &memory).await;
    let books = match stage {
        Some(stage) => Some(stage.finish().await?),
        None => None,
    };
    show::show(args, &figures, &record, &memory, books.as_ref())?;
    Ok(figures.tally.failed() == 0)
}

async fn start(args: &Args) -> Result<Stage, Box<dyn Error>> {
    eprintln!("Building and starting {0} + {0} pods on {1:?} …", args.pods, args.spawn);
    let flags = [args.account_flag.clone(), args.order_flag.clone()];
    Ok(Stage::start(args.spawn.kind(), args.pods, flags).await?)
}

async fn connect(args: &Args, stage: Option<&Stage>) -> Result<[Connections; 2], Box<dyn Error>> {
    let clients = args.requests.clients;
    let token = args.token_file.as_deref();
    let token = token.map(|file| BearerToken::from_file(file, TOKEN_RELOAD)).transpose()?;
    if let Some(stage) = stage {
        return Ok(stage.connect_as(clients, token.as_ref()).await?);
    }
    let connections = [&args.account_target, &args.target]
        .map(|addresses| Connections::open_as(addresses, clients, token.as_ref()));
    let [accounts, orders] = connections;
    Ok([accounts?, orders?])
}

async fn prepare(
    requests: &Requests,
    accounts: &Connections,
    orders: &Connections,
) -> Result<(), Box<dyn Error>> {
    let opening = Opening { accounts: 1..=count(requests).into(), balance: OPENING_BALANCE };
    open_accounts(&accounts.of_request(0), opening).await?;
    if requests.lines > 0 {
        put_products(&orders.of_request(0), requests.products, requests.stock).await?;
    }
    Ok(())
}

fn count(requests: &Requests) -> u32 {
    if requests.hot_account { 1 } else { requests.accounts }
}

fn mix(requests: &Requests) -> Mix {
    let products = match requests.lines {
        0 => Products::None,
        lines => Products::Lines { lines, count: requests.products },
    };
    let started = humantime::format_rfc3339_millis(started_at());
    Mix {
        seed: requests.seed,
        run: format!("load-{started}"),
        accounts: Accounts { count: count(requests), zipf: requests.zipf },
        products,
        duplicates: requests.duplicates,
        on_duplicate: if requests.reject { OnDuplicate::Reject } else { OnDuplicate::Replay },
    }
}

#[expect(clippy::disallowed_methods, reason = "names the run's keys, decides nothing")]
fn started_at() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// Puts the load on.
async fn put_on(
    args: &Args,
    accounts: Connections,
    orders: Connections,
    stage: Option<&Stage>,
    memory: &Memory,
) -> Measured {
    let requests = &args.requests;
    let (mix, deadline) = (mix(requests), requests.deadline);
    let plan = Plan { pace: requests.pace(), first: 0, warm_up: args.warm_up };
    let used = match requests.call {
        Call::PlaceOrder => orders.clone(),
        Call::Reserve => accounts.clone(),
    };
    let retried = || used.retries();
    let cpu = || stage.map_or_else(CpuUse::of_load, Stage::cpu);
    let counting = async |record: &Record| {
        let watching = async {
            memory.watch(stage, args.duration).await;
            std::future::pending().await
        };
        tokio::select! {
            () = progress::until(args.duration, requests.requests, record, retried) => {}
            () = watching => {}
        }
    };
    match requests.call {
        Call::PlaceOrder => {
            let work = Orders { connections: orders, mix, deadline };
            measure(work, plan, cpu, counting).await
        }
        Call::Reserve => {
            let work = Reserves { connections: accounts, mix, deadline };
            measure(work, plan, cpu, counting).await
        }
    }
}
