//! The pair's measurements, on one pair that runs all the time.

use std::error::Error;
use std::time::{Duration, Instant};

use proto::order::v1::OnDuplicate;
use tests::HarnessError;
use tests::clients::Clients;
use tests::document_b;
use tests::load::{
    Accounts, Answer, Connections, Figures, History, Kind, Mix, Opening, Orders, Pace, Plan,
    Products, Record, Reserves, Stage, Work, fill, measure, open_accounts, put_products,
};
use tests::postgres::Postgres;

/// Connections of a small fleet of callers, and of a large one.
const FEW: usize = 16;
const MANY: usize = 1_000;
/// How often each service is started to see how long that takes.
const STARTS: u32 = 5;
const ACCOUNTS: u32 = 10_000;
const OPENING_BALANCE: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(3);

/// Lines of a log that are shown when requests failed.
const LINES_SHOWN: usize = 10;

/// A flash sale: so many want one of so few.
const BUYERS: u64 = 50_000;
pub(crate) const PIECES: u32 = 1_000;

/// Keys that refused duplicates repeat, all placed before it counts.
const REPEATED: u64 = 1_000;

/// Document A's load.
const SEED_RATE: f64 = 3_000.0;

/// A pair, its database server, and connections to it.
pub(crate) struct Pair {
    stage: Stage,
    accounts: Connections,
    one: Connections,
    few: Connections,
    many: Connections,
    /// Names the next measurement's keys.
    runs: u32,
    time: Duration,
    in_flight: usize,
}

impl Pair {
    pub(crate) async fn start(time: Duration, in_flight: usize) -> Result<Self, Box<dyn Error>> {
        let stage = Stage::start(Kind::Postgres, 1, Default::default()).await?;
        let [accounts, few] = stage.connect(FEW).await?;
        let [_, one] = stage.connect(1).await?;
        let [_, many] = stage.connect(MANY).await?;
        let opening = Opening { accounts: 1..=ACCOUNTS.into(), balance: OPENING_BALANCE };
        open_accounts(&accounts.of_request(0), opening).await?;
        Ok(Self { stage, accounts, one, few, many, runs: 0, time, in_flight })
    }

    /// The database server under it.
    pub(crate) fn server(&self) -> &Postgres {
        self.stage.postgres().expect("the pair is on PostgreSQL")
    }

    /// Writes so many orders of the past, paid by all accounts, down to the disk.
    pub(crate) async fn fill(&self, orders: i64) -> Result<(), Box<dyn Error>> {
        let databases = self.stage.cluster().databases();
        let history = History { orders, accounts: ACCOUNTS.into() };
        fill(&databases.account, &databases.order, history).await?;
        Ok(self.server().checkpoint().await?)
    }

    /// Resident memory of account-service and order-service, in MiB.
    pub(crate) fn resident_mib(&self) -> [u64; 2] {
        self.stage.resident_mib()
    }

    /// Reads the books of both services.
    pub(crate) async fn finish(self) -> Result<holdfast_verify::Report, Box<dyn Error>> {
        drop((self.accounts, self.one, self.few, self.many));
        Ok(self.stage.finish().await?)
    }

    /// As many orders as there can be with so many in flight.
    pub(crate) async fn orders(&mut self) -> Result<Figures, HarnessError> {
        let work = self.buying(self.few.clone(), Products::None);
        self.closed(work).await
    }

    /// The same over a thousand connections.
    pub(crate) async fn orders_of_many(&mut self) -> Result<Figures, HarnessError> {
        let work = self.buying(self.many.clone(), Products::None);
        self.closed(work).await
    }

    /// The same over one connection, on which a hundred calls at once find room.
    pub(crate) async fn orders_of_one(&mut self) -> Result<Figures, HarnessError> {
        let work = self.buying(self.one.clone(), Products::None);
        self.closed(work).await
    }

    /// From the start of a process to its readiness, each service's slowest of several starts. Ends the connections.
    pub(crate) async fn starts(&mut self) -> Result<[Duration; 2], Box<dyn Error>> {
        let cluster = self.stage.cluster_mut();
        let mut slowest = [Duration::ZERO; 2];
        for (slowest, pod) in
            slowest.iter_mut().zip([&mut cluster.account[0], &mut cluster.order[0]])
        {
            for _ in 0..STARTS {
                pod.terminate();
                pod.wait_gone()?;
                let began = Instant::now();
                pod.restart()?;
                pod.wait_ready().await?;
                *slowest = began.elapsed().max(*slowest);
            }
        }
        Ok(slowest)
    }

    /// Reserve alone, from so many accounts.
    async fn reserves(&mut self, accounts: u32) -> Result<Figures, HarnessError> {
        let mix = self.mix(accounts, Products::None);
        let connections = self.accounts.clone();
        self.closed(Reserves { connections, mix, deadline: DEADLINE }).await
    }

    /// Reserve alone, all from one account.
    pub(crate) async fn hot_account(&mut self) -> Result<Figures, HarnessError> {
        self.reserves(1).await
    }

    /// Reserve alone, from all accounts alike.
    pub(crate) async fn all_accounts(&mut self) -> Result<Figures, HarnessError> {
        self.reserves(ACCOUNTS).await
    }

    /// Everybody wants the one product of which there is too little.
    pub(crate) async fn flash_sale(&mut self) -> Result<Figures, Box<dyn Error>> {
        put_products(&self.few.of_request(0), 1, PIECES.into()).await?;
        let work = self.buying(self.few.clone(), Products::Lines { lines: 1, count: 1 });
        let pace = Pace::Closed { in_flight: self.in_flight };
        let plan = Plan { pace, first: 0, warm_up: Duration::ZERO };
        let sold = async |record: &Record| {
            while record.total().requests() < BUYERS {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Ok(self.told(measure(work, plan, || self.stage.cpu(), sold).await.figures))
    }

    /// One order after the other.
    pub(crate) async fn one_by_one(&mut self) -> Result<Figures, HarnessError> {
        let work = self.buying(self.few.clone(), Products::None);
        self.measured(work, Pace::Closed { in_flight: 1 }, WARM_UP, self.time / 3).await
    }

    /// Document A's load: an open loop from a thousand clients.
    pub(crate) async fn seed(&mut self, time: Duration) -> Result<Figures, HarnessError> {
        let work = self.buying(self.many.clone(), Products::None);
        self.measured(work, Pace::Open { per_second: SEED_RATE }, WARM_UP, time).await
    }

    /// Duplicates that are refused.
    pub(crate) async fn refusals(&mut self) -> Result<Figures, HarnessError> {
        let mut work = self.buying(self.few.clone(), Products::None);
        work.mix.on_duplicate = OnDuplicate::Reject;
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        let pace = Pace::Open { per_second: REPEATED as f64 };
        self.measured(Repeating(work), pace, WARM_UP, self.time / 3).await
    }

    /// Document B's crowds on one key, the first time to warm up.
    pub(crate) async fn crowds(&mut self) -> Result<document_b::Report, Box<dyn Error>> {
        let clients = Clients::connect(self.stage.cluster()).await?;
        let mut report = document_b::Report::default();
        for first_id in [2_000_000, 3_000_000] {
            report = document_b::run_all(&clients, first_id).await?;
        }
        Ok(report)
    }

    async fn closed<W: Work>(&self, work: W) -> Result<Figures, HarnessError> {
        self.measured(work, Pace::Closed { in_flight: self.in_flight }, WARM_UP, self.time).await
    }

    async fn measured<W: Work>(
        &self,
        work: W,
        pace: Pace,
        warm_up: Duration,
        time: Duration,
    ) -> Result<Figures, HarnessError> {
        let plan = Plan { pace, first: 0, warm_up };
        let counting = async |_: &Record| tokio::time::sleep(time).await;
        Ok(self.told(measure(work, plan, || self.stage.cpu(), counting).await.figures))
    }

    /// Says at once what failed, and the last that the services said about it: their logs go with the pair.
    fn told(&self, figures: Figures) -> Figures {
        if figures.tally.failed() > 0 {
            eprintln!("Failed: {}", figures.tally.failures_in_words());
            let cluster = self.stage.cluster();
            for pod in cluster.account.iter().chain(&cluster.order) {
                let log = std::fs::read_to_string(pod.log()).unwrap_or_default();
                let wrong = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
                for line in log.lines().rev().filter(wrong).take(LINES_SHOWN) {
                    eprintln!("{}: {line}", pod.name());
                }
            }
        }
        figures
    }

    fn buying(&mut self, connections: Connections, products: Products) -> Orders {
        Orders { connections, mix: self.mix(ACCOUNTS, products), deadline: DEADLINE }
    }

    fn mix(&mut self, count: u32, products: Products) -> Mix {
        self.runs += 1;
        Mix {
            seed: self.runs.into(),
            run: format!("bench-{}", self.runs),
            accounts: Accounts { count, zipf: 0.0 },
            products,
            duplicates: 0.0,
            on_duplicate: OnDuplicate::Replay,
        }
    }
}

/// Sends a few orders again and again.
struct Repeating(Orders);

impl Work for Repeating {
    async fn send(&self, number: u64) -> Answer {
        self.0.send(number % REPEATED).await
    }
}
