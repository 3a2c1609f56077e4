//! `cargo run --release -p tests --bin million`: a million orders, and 5 % duplicates among the requests, over two pods
//! of each service on PostgreSQL; afterwards the books hold exactly what was asked for, to the last digit.
//!
//! What must stand in the books is worked out from the requests alone. Memory: about 1 KiB an order, most of it to hold
//! the books against that.

mod expected;

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use clap::Parser;
use client::Channel;
use database::DatabaseUrl;
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{OnDuplicate, PlaceOrderReply, PutProductRequest};
use serde::Serialize;
use tests::chaos::books::Books;
use tests::load::{Accounts, Connections, Kind, Mix, Opening, Products, Stage, open_accounts};
use tests::{Interrupted, unless_interrupted};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::{Request, Status};
use uuid::Uuid;

use expected::{Answer, Expected, price};

/// Places orders, some of them more than once, and holds the books against what was asked for.
#[derive(Clone, Debug, Parser)]
#[command(name = "million")]
struct Args {
    /// Distinct keys, each of which must make one order
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    orders: u64,
    /// The share of requests that repeat an earlier one
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    duplicates: f64,
    /// Requests under way at any time
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
    /// Accounts that pay
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    accounts: u32,
    /// Chooses who buys what, and which requests are duplicates
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// The last line.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    orders: u64,
    requests: u64,
    /// Answers that said so: as many as there are duplicates, and one for each call whose first answer was lost.
    replayed: u64,
    /// Calls that had to be made again.
    retries: u64,
    seconds: f64,
    orders_per_second: f64,
    wrong_total: usize,
    wrong: Vec<String>,
}

/// One with as many decimal places as money has: the Chilean unit of account.
const CURRENCY: &str = "CLF";

const PODS: usize = 2;
const CONNECTIONS: usize = 16;
const BALANCE: u64 = 1_000_000_000;
const PRODUCTS: u32 = 500;
const LINES: u32 = 2;
const STOCK: i64 = 1_000_000_000;

/// Of a call; and of a request with all its calls.
const DEADLINE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(100);
const PROGRESS: Duration = Duration::from_secs(10);
const SETTLING: Duration = Duration::from_secs(60);
const SHOWN: usize = 10;

#[tokio::main]
async fn main() -> ExitCode {
    unless_interrupted(program()).await.unwrap_or_else(Interrupted::exit_code)
}

async fn program() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("million: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<Report, Box<dyn Error>> {
    let mix = Mix {
        seed: args.seed,
        run: "million".to_owned(),
        accounts: Accounts { count: args.accounts, zipf: 0.0 },
        products: Products::Lines { lines: LINES, count: PRODUCTS },
        duplicates: args.duplicates,
        on_duplicate: OnDuplicate::Replay,
    };
    let expected = Expected::of(&mix, args.orders);
    let currency = || vec![format!("--default-currency={CURRENCY}")];
    let stage = Stage::start(Kind::Postgres, PODS, [currency(), currency()]).await?;
    let [accounts, orders] = stage.connect(CONNECTIONS).await?;
    let opening = Opening { accounts: 1..=args.accounts.into(), balance: BALANCE };
    open_accounts(&accounts.of_request(0), opening).await?;
    put_products(&orders.of_request(0)).await?;

    let requests = expected.requests();
    eprintln!("{requests} requests for {} orders …", args.orders);
    let (began, asking) = (Instant::now(), Asking::new(mix, orders, requests));
    let asking = ask_all(asking, args.in_flight).await?;
    let took = began.elapsed();

    let books = books(&stage);
    settled(&books).await?;
    let mut wrong = expected.hold_against(&asking.answers, &books.read().await?, BALANCE, STOCK);
    // Both services, and what neither sees alone.
    wrong.extend(stage.finish().await.err().map(|error| error.to_string()));
    let wrong_total = wrong.len();
    wrong.truncate(SHOWN);
    let seconds = took.as_secs_f64();
    Ok(Report {
        ok: wrong_total == 0,
        orders: args.orders,
        requests,
        replayed: asking.replayed.load(Ordering::Relaxed),
        retries: asking.retries.load(Ordering::Relaxed),
        seconds,
        orders_per_second: args.orders as f64 / seconds,
        wrong_total,
        wrong,
    })
}

/// Prices with four digits behind the point, no two alike: a sum that is right is right by no accident.
async fn put_products(channel: &Channel) -> Result<(), Status> {
    let mut catalog = CatalogServiceClient::new(channel.clone());
    for product in 1..=PRODUCTS {
        let product_id = i64::from(product);
        let (name, price) = (format!("product {product}"), price(product_id).to_string());
        let currency = CURRENCY.to_owned();
        let request = PutProductRequest { product_id, name, price, stock: STOCK, currency };
        catalog.put_product(request).await?;
    }
    Ok(())
}

/// Requests by number, and what each was told.
struct Asking {
    mix: Mix,
    connections: Connections,
    next: AtomicU64,
    answers: Vec<OnceLock<Answer>>,
    replayed: AtomicU64,
    retries: AtomicU64,
}

impl Asking {
    fn new(mix: Mix, connections: Connections, requests: u64) -> Arc<Self> {
        let answers = (0..requests).map(|_| OnceLock::new()).collect();
        let (next, replayed, retries) = Default::default();
        Arc::new(Self { mix, connections, next, answers, replayed, retries })
    }

    /// One request after the other, as long as there are any.
    async fn ask(&self) -> Result<(), Status> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let place = usize::try_from(number).ok().and_then(|index| self.answers.get(index));
            let Some(place) = place else { return Ok(()) };
            let reply = self.persist(number).await?;
            self.replayed.fetch_add(u64::from(reply.replayed), Ordering::Relaxed);
            let _first_time = place.set(answer(&reply)?);
        }
    }

    async fn persist(&self, number: u64) -> Result<PlaceOrderReply, Status> {
        let (order, began) = (self.mix.order(number), Instant::now());
        loop {
            let mut request = Request::new(order.clone());
            request.set_timeout(DEADLINE);
            let mut stub = OrderServiceClient::new(self.connections.of_request(number));
            match stub.place_order(request).await {
                Ok(reply) => return Ok(reply.into_inner()),
                Err(status) if began.elapsed() > PATIENCE => return Err(status),
                Err(_) => self.retries.fetch_add(1, Ordering::Relaxed),
            };
            sleep(PAUSE).await;
        }
    }
}

fn answer(reply: &PlaceOrderReply) -> Result<Answer, Status> {
    let odd = || Status::internal(format!("an answer without its order: {reply:?}"));
    let (order, payment) = reply.order.as_ref().zip(reply.payment.as_ref()).ok_or_else(odd)?;
    let id = |text: &str| Uuid::parse_str(text).map_err(|_| odd());
    Ok(Answer { order_id: id(&order.order_id)?, payment_id: id(&payment.payment_id)? })
}

async fn ask_all(asking: Arc<Asking>, in_flight: usize) -> Result<Arc<Asking>, Status> {
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let asking = Arc::clone(&asking);
        callers.spawn(async move { asking.ask().await });
    }
    let mut ticks = tokio::time::interval(PROGRESS);
    ticks.tick().await;
    loop {
        tokio::select! {
            caller = callers.join_next() => match caller {
                None => return Ok(asking),
                Some(done) => done.expect("a caller does not panic")?,
            },
            _ = ticks.tick() => eprintln!("{} …", asking.next.load(Ordering::Relaxed)),
        }
    }
}

fn books(stage: &Stage) -> Books {
    let read = |url: &str| -> DatabaseUrl { url.parse().expect("an address of our own") };
    let databases = stage.cluster().databases();
    Books { account: read(&databases.account), order: read(&databases.order) }
}

/// Waits until every capture is told.
async fn settled(books: &Books) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    while books.unfinished().await? > 0 && began.elapsed() < SETTLING {
        sleep(PAUSE).await;
    }
    Ok(())
}
