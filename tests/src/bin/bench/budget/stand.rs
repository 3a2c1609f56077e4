//! A pair under load, and the moments between which it is counted.

use std::error::Error;
use std::time::{Duration, Instant};

use proto::order::v1::OnDuplicate;
use sqlx::{Connection, PgConnection};
use tests::cluster::Binaries;
use tests::load::{
    Accounts, Connections, CpuUse, Mix, Opening, Orders, Pace, Plan, Products, Record, Stage,
    measure, open_accounts,
};

use super::count::{self, Budget, Mark};

const ACCOUNTS: u32 = 10_000;
const OPENING_BALANCE: u64 = 1_000_000_000;
const CONNECTIONS: usize = 16;
const DEADLINE: Duration = Duration::from_secs(10);

/// Of the orders that are counted, so many more are placed before, so that batches and tables are as they will be.
const WARM_UP: u64 = 5;

/// How long captures may take after the last order; more often than that nobody looks.
const SETTLED_MAX: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(50);

/// Counts are read where no service looks.
const OBSERVED_FROM: &str = "postgres";

/// What the server needs to count.
const SETTINGS: [&str; 3] = [
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.max=10000",
    // Nothing is thrown away before it is counted.
    "wal_keep_size=1GB",
];

/// A pair, its database server, and connections to both.
pub(crate) struct Stand {
    stage: Stage,
    connections: Connections,
    observer: PgConnection,
    orders: PgConnection,
    in_flight: usize,
    /// Names the next measurement's keys.
    runs: u64,
}

impl Stand {
    pub(crate) async fn start(
        binaries: Binaries,
        in_flight: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let stage = Stage::start_programs(binaries, &SETTINGS).await?;
        let server = stage.postgres().expect("the pair is on PostgreSQL");
        let mut observer = PgConnection::connect(&server.url(OBSERVED_FROM)).await?;
        count::prepare(&mut observer).await?;
        let orders = PgConnection::connect(&stage.cluster().databases().order).await?;

        let [accounts, connections] = stage.connect(CONNECTIONS).await?;
        let opening = Opening { accounts: 1..=ACCOUNTS.into(), balance: OPENING_BALANCE };
        open_accounts(&accounts.of_request(0), opening).await?;
        Ok(Self { stage, connections, observer, orders, in_flight, runs: 0 })
    }

    /// Lets keys go into the rows of their orders.
    pub(crate) async fn claim_in_orders(&mut self) -> sqlx::Result<()> {
        let moved = "ALTER TABLE orders SET (fillfactor = 50); UPDATE layout SET claims = 'orders'";
        sqlx::raw_sql(moved).execute(&mut self.orders).await.map(drop)
    }

    /// Places so many orders and waits until all are captured; answers what one cost.
    pub(crate) async fn measure(&mut self, orders: u64) -> Result<Budget, Box<dyn Error>> {
        let server = self.stage.postgres().expect("the pair is on PostgreSQL");
        server.checkpoint().await?;
        self.place(orders / WARM_UP).await?;
        self.settled().await?;

        let (mark, cpu) = (Mark::now(&mut self.observer).await?, self.stage.cpu());
        let (placed, time) = self.place(orders).await?;
        self.settled().await?;
        let cpu = self.stage.cpu() - cpu;
        let counts = mark.since(&mut self.observer).await?;
        Ok(Budget { placed, time, cpu, counts })
    }

    /// Asks the pair to leave and verifies its books, each service by its own word.
    pub(crate) fn finish(mut self) -> Result<(), tests::HarnessError> {
        drop(self.connections);
        self.stage.cluster_mut().stop()?;
        self.stage.cluster().verify().map(drop)
    }

    /// How many were placed, and how long that took.
    async fn place(&mut self, orders: u64) -> Result<(u64, Duration), Box<dyn Error>> {
        self.runs += 1;
        let mix = Mix {
            seed: self.runs,
            run: format!("budget-{}", self.runs),
            accounts: Accounts { count: ACCOUNTS, zipf: 0.0 },
            products: Products::None,
            duplicates: 0.0,
            on_duplicate: OnDuplicate::Replay,
        };
        let work = Orders { connections: self.connections.clone(), mix, deadline: DEADLINE };
        let pace = Pace::Closed { in_flight: self.in_flight };
        let plan = Plan { pace, first: 0, warm_up: Duration::ZERO };
        let enough = async |record: &Record| {
            while record.total().requests() < orders {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let figures = measure(work, plan, CpuUse::default, enough).await.figures;
        if figures.tally.failed() > 0 {
            return Err(format!("orders failed: {}", figures.tally.failures_in_words()).into());
        }
        Ok((figures.tally.done, figures.time))
    }

    /// Waits until the account service has been told of all orders.
    async fn settled(&mut self) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        let view = "SELECT to_regclass('notices') IS NOT NULL AS of_budget";
        let waiting = match sqlx::query_scalar(view).fetch_one(&mut self.orders).await? {
            true => "SELECT count(*) AS of_budget FROM notices",
            // Of a version before there were batches.
            false => "SELECT count(*) AS of_budget FROM outbox",
        };
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut self.orders).await? > 0 {
            if began.elapsed() > SETTLED_MAX {
                return Err("captures are still waiting".into());
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }
}
