//! `cargo run --release -p tests --bin takeover`: how long callers wait for what a killed order pod had begun.
//!
//! Two order pods with the leases that are shipped, on PostgreSQL or on a SQLite file. Again and again one is killed with
//! orders begun and none decided, and the time is taken until all are decided. The account service is silent for the moment
//! before, so that a kill never comes too late.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use database::DatabaseUrl;
use proto::account::v1::OpenAccountRequest;
use proto::order::v1::{OnDuplicate, PlaceOrderRequest};
use tests::chaos::books::Books;
use tests::clients::Clients;
use tests::cluster::{Binaries, Cluster, Databases, Plan, connect, sqlite_in};
use tests::postgres::Postgres;
use tests::{HarnessError, Interrupted, ask, unless_interrupted};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ACCOUNT: i64 = 1;

/// Between two looks at the keys.
const GLANCE: Duration = Duration::from_millis(20);

/// For one state to be reached.
const PATIENCE: Duration = Duration::from_secs(90);

/// A pod judges others once it has been steady for so long.
const STEADY: Duration = Duration::from_millis(3_500);

/// Measures how soon another pod finishes what a killed one had begun.
#[derive(Debug, Parser)]
#[command(name = "takeover")]
struct Args {
    /// How often a pod is killed
    #[arg(long, value_name = "N", default_value_t = 20)]
    kills: usize,
    /// Orders begun each time
    #[arg(long, value_name = "N", default_value_t = 50)]
    orders: usize,
    /// On SQLite instead of PostgreSQL
    #[arg(long)]
    sqlite: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    match measure(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("takeover: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What the pods run on; it goes when this does.
struct Ground {
    databases: Databases,
    _server: Option<Postgres>,
    _directory: tempfile::TempDir,
}

impl Ground {
    async fn make(sqlite: bool) -> Result<Self, HarnessError> {
        let directory = tempfile::TempDir::with_prefix("holdfast-takeover-")
            .map_err(|error| failed("make a directory", error))?;
        if sqlite {
            let databases = sqlite_in(directory.path());
            return Ok(Self { databases, _server: None, _directory: directory });
        }

        let server = Postgres::start().await?;
        let account = server.create_database("account").await?;
        let order = server.create_database("orders").await?;
        let databases = Databases { account, order };
        Ok(Self { databases, _server: Some(server), _directory: directory })
    }

    fn books(&self) -> Books {
        let read = |url: &str| url.parse::<DatabaseUrl>().expect("the harness's own address");
        Books { account: read(&self.databases.account), order: read(&self.databases.order) }
    }
}

async fn measure(args: &Args) -> Result<(), HarnessError> {
    let binaries = Binaries::build()?;
    let ground = Ground::make(args.sqlite).await?;
    let databases = Some(ground.databases.clone());
    let plan = Plan { account_pods: 1, databases, ..Plan::default() };
    let mut cluster = Cluster::start(binaries, plan).await?;
    open_account(&cluster).await?;

    let (books, mut times) = (ground.books(), Vec::new());
    for kill in 0..args.kills {
        let took = kill_one(&mut cluster, &books, kill, args.orders).await?;
        println!(
            "{:>3}: {} orders decided {} ms after the kill",
            kill + 1,
            args.orders,
            took.as_millis()
        );
        times.push(took.as_millis() as u64);
    }

    cluster.stop()?;
    cluster.verify()?;
    report(args, times);
    Ok(())
}

async fn open_account(cluster: &Cluster) -> Result<(), HarnessError> {
    let mut clients = Clients::connect(cluster).await?;
    let (currency, opening_balance) = (String::new(), "1000000000".to_owned());
    let request = OpenAccountRequest { account_id: ACCOUNT, currency, opening_balance };
    let opened = clients.accounts.open_account(request).await;
    opened.map(drop).map_err(|status| failed("open an account", status))
}

/// Kills one of the two pods with orders begun, and waits until all are decided. Then the pod is started again.
async fn kill_one(
    cluster: &mut Cluster,
    books: &Books,
    kill: usize,
    orders: usize,
) -> Result<Duration, HarnessError> {
    sleep(STEADY).await;
    let victim = kill % cluster.order.len();
    let channel = connect(&cluster.order[victim]).await?;
    cluster.account[0].freeze();
    let mut callers = JoinSet::new();
    for order in 0..orders {
        callers.spawn(ask::place(channel.clone(), request(kill, order)));
    }
    reach(books, orders).await?;

    cluster.order[victim].kill()?;
    let killed = Instant::now();
    cluster.account[0].thaw();
    reach(books, 0).await?;
    let took = killed.elapsed();

    callers.shutdown().await;
    cluster.order[victim].restart()?;
    cluster.order[victim].wait_ready().await?;
    Ok(took)
}

/// Waits until so much is unfinished.
async fn reach(books: &Books, unfinished: usize) -> Result<(), HarnessError> {
    let began = Instant::now();
    loop {
        let now = books.unfinished().await.map_err(|error| failed("read the orders", error))?;
        if now == unfinished {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let output = format!("{now} orders are unfinished, and not {unfinished}");
            return Err(failed("wait for the orders", output));
        }
        sleep(GLANCE).await;
    }
}

fn failed(what: &str, why: impl ToString) -> HarnessError {
    HarnessError::Failed { what: what.to_owned(), output: why.to_string() }
}

fn request(kill: usize, order: usize) -> PlaceOrderRequest {
    PlaceOrderRequest {
        account_id: ACCOUNT,
        idempotency_key: format!("kill {kill} order {order}"),
        amount: "10".to_owned(),
        lines: Vec::new(),
        on_duplicate: OnDuplicate::Replay.into(),
        currency: String::new(),
    }
}

/// Prints the distribution, for people and as one JSON object for programs.
fn report(args: &Args, mut times: Vec<u64>) {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return };
    let quantile = |share: f64| times[(last as f64 * share).round() as usize];
    let [min, median, p90, max] = [0.0, 0.5, 0.9, 1.0].map(quantile);
    println!("least {min} ms, median {median} ms, 90 % {p90} ms, most {max} ms");
    let (kills, orders) = (times.len(), args.orders);
    println!(
        "{}",
        serde_json::json!({
            "kills": kills, "orders": orders, "sqlite": args.sqlite,
            "min_ms": min, "median_ms": median, "p90_ms": p90, "max_ms": max,
        })
    );
}
