//! One run: clients at work, events one after the other, and the reckoning.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Channel;
use proto::order::v1::OnDuplicate;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tests::HarnessError;
use tests::load::{Accounts, Mix, Pace, Products, Record, Run};
use tokio::time::sleep;

use crate::args::Args;
use crate::audit::{self, Audit};
use crate::callers::{Callers, Client, Totals};
use crate::kubectl::Kubectl;
use crate::measure::{self, Line, Span};
use crate::plan::{self, CONTROL, Class, Event};
use crate::progress::Progress;
use crate::scene::Scene;
use crate::stage::{self, ACCOUNTS, Mode, PRODUCTS, Reckoning, Stage};

/// Calm before the first event, and between two.
const CALM_FIRST: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(4);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// One an event.
    pub(crate) lines: Vec<Line>,
    /// The whole run.
    pub(crate) all: Line,
    pub(crate) graceful: Graceful,
    pub(crate) connections: Totals,
    pub(crate) audit: Audit,
    /// What was found when all pods had left; `None` for somebody else's pods.
    pub(crate) reckoning: Option<Reckoning>,
}

/// The sum over graceful events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Graceful {
    pub(crate) events: usize,
    pub(crate) failed: u64,
    pub(crate) asked_again: u64,
}

impl Outcome {
    fn with(mut self, connections: Totals) -> Self {
        self.all.retried = connections.retries;
        Self { connections, ..self }
    }

    /// What the columns about orders rest on.
    pub(crate) fn books(&self) -> String {
        let orders = self.audit.orders;
        match &self.reckoning {
            Some(_) => format!(
                "{orders} orders were read through the service, and both databases were verified."
            ),
            None => format!(
                "{orders} orders were read through the service; what is there twice or missing is found among them. The \
                 databases are not this program's and were not read: `account-service verify` and `order-service verify` do."
            ),
        }
    }

    /// Nothing failed, nothing is there twice, nothing is lost, nobody left in disorder, and no pod
    /// was left with too much of the load.
    pub(crate) fn is_ok(&self) -> bool {
        self.all.failed == 0
            && self.lines.iter().all(Line::is_spread)
            && self.audit.duplicates.is_empty()
            && self.audit.missing.is_empty()
            && self.reckoning.as_ref().is_none_or(Reckoning::is_clean)
    }
}

/// Runs the plan, or the control's, on a stage of its own.
pub(crate) async fn on_pods(
    args: &Args,
    mode: Mode,
    seed: u64,
) -> Result<(Outcome, Arc<Record>), Box<dyn Error>> {
    let mut stage = Stage::start(args, mode, seed).await?;
    eprintln!("Pods log to {}", stage.logs().display());
    let target = stage.namespace.cluster_ip();
    let products = Products::Lines { lines: 1, count: PRODUCTS };
    let callers = callers(args, mode, &target, seed, products)?;
    callers.ready().await;

    let record = Arc::new(Record::default());
    let pace = Pace::Open { per_second: args.rate };
    let sending = Run::start(Arc::clone(&callers), pace, 0, Arc::clone(&record));
    let progress = Progress::start(args.time(), Arc::clone(&record), Arc::clone(&callers));
    let mut director = Director::new(&callers, &record, &progress, seed);
    let spans = match mode {
        Mode::Holdfast => {
            let events = plan::events(args.previous_binaries.is_some(), stage.postgres.is_some());
            director.direct(&mut stage, events, Some(args.time())).await?
        }
        Mode::Control => director.direct(&mut stage, CONTROL.into_iter(), None).await?,
    };
    let seconds = record.began().elapsed().as_secs();
    progress.say("waiting for the last answers");
    sending.finish().await;
    progress.say("reading the books");
    let audit = audit::audit(&callers, &target, args.accounts()).await?;
    let connections = callers.totals();
    drop((progress, callers));
    let reckoning = Some(stage.finish().await?);
    let outcome = reckon(args, seed, &record, &spans, seconds, audit);
    Ok((Outcome { reckoning, ..outcome.with(connections) }, record))
}

/// Sends to somebody else's services for the time of the plan. Events are left to whoever owns the
/// pods, or to kubectl.
pub(crate) async fn on_target(
    args: &Args,
    target: &str,
    seed: u64,
) -> Result<(Outcome, Arc<Record>), Box<dyn Error>> {
    let target = format!("http://{target}");
    if let Some(accounts) = &args.account_target {
        let channel = Channel::builder(format!("http://{accounts}")).build()?;
        stage::open(&channel, args.accounts()).await.map_err(|error| {
            let taken = matches!(error, HarnessError::AccountExists { .. });
            let way_out = if taken { "; choose others by --first-account" } else { "" };
            format!("{error}{way_out}")
        })?;
    }
    eprintln!("Sending to {target}");
    let callers = callers(args, Mode::Holdfast, &target, seed, Products::None)?;
    callers.ready().await;
    let record = Arc::new(Record::default());
    let pace = Pace::Open { per_second: args.rate };
    let sending = Run::start(Arc::clone(&callers), pace, 0, Arc::clone(&record));
    let progress = Progress::start(args.time(), Arc::clone(&record), Arc::clone(&callers));
    let mut director = Director::new(&callers, &record, &progress, seed);
    let spans = match &args.kubectl {
        Some(namespace) => {
            let mut cluster = Kubectl::new("kubectl", namespace);
            director.direct(&mut cluster, plan::by_kubectl(), Some(args.time())).await?
        }
        None => {
            progress.say("sending");
            sleep(args.time()).await;
            Vec::new()
        }
    };
    let seconds = record.began().elapsed().as_secs();
    sending.finish().await;
    let audit = audit::audit(&callers, &target, args.accounts()).await?;
    let outcome = reckon(args, seed, &record, &spans, seconds, audit);
    Ok((outcome.with(callers.totals()), record))
}

fn callers(
    args: &Args,
    mode: Mode,
    target: &str,
    seed: u64,
    products: Products,
) -> Result<Arc<Callers>, Box<dyn Error>> {
    let clients = (0_u64..).take(args.clients.max(1)).map(|number| match mode {
        Mode::Holdfast => Ok(Client::holdfast(target, seed.wrapping_add(number))?),
        Mode::Control => Ok(Client::plain(target)?),
    });
    let clients = clients.collect::<Result<_, Box<dyn Error>>>()?;
    let mix = Mix {
        seed,
        run: format!("rollout-{seed}"),
        accounts: Accounts { count: ACCOUNTS, zipf: 0.0 },
        products,
        duplicates: 0.0,
        on_duplicate: OnDuplicate::Replay,
    };
    Ok(Arc::new(Callers::new(clients, mix, args.first_account, args.deadline)))
}

/// Lets events happen and notes when.
struct Director<'run> {
    callers: &'run Callers,
    record: &'run Record,
    progress: &'run Progress,
    random: StdRng,
    /// Kinds of events after which the spread was looked at: once each is enough.
    looked_at: HashSet<String>,
}

impl<'run> Director<'run> {
    fn new(
        callers: &'run Callers,
        record: &'run Record,
        progress: &'run Progress,
        seed: u64,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { callers, record, progress, random, looked_at: HashSet::new() }
    }

    /// Events until there are no more, or no time. Without a time nobody looks at the spread.
    async fn direct(
        &mut self,
        scene: &mut impl Scene,
        events: impl Iterator<Item = Event>,
        time: Option<Duration>,
    ) -> Result<Vec<Span>, Box<dyn Error>> {
        let began = Instant::now();
        let mut spans = Vec::new();
        self.progress.say("calm");
        sleep(CALM_FIRST).await;
        for event in events {
            if time.is_some_and(|time| began.elapsed() >= time) {
                break;
            }
            spans.push(self.one(scene, event, time.is_some()).await?);
        }
        Ok(spans)
    }

    async fn one(
        &mut self,
        scene: &mut impl Scene,
        event: Event,
        looks: bool,
    ) -> Result<Span, Box<dyn Error>> {
        let name = event.name();
        self.progress.say(&name);
        self.record.mark(name.clone());
        let (start, totals, before) = (self.second(), self.callers.totals(), scene.ended());
        scene.happen(event, &mut self.random).await?;
        let since = tokio::time::Instant::now();
        sleep(Duration::from_secs(1)).await;
        let (end, after) = (self.second() + 1, scene.ended());
        let retried = self.callers.totals().retries - totals.retries;
        self.progress.say("calm");
        sleep(CALM).await;
        let shares = match looks && event.spreads() && self.looked_at.insert(name) {
            true => scene.spread(since).await,
            false => None,
        };
        let [departures, kills] = [0, 1].map(|index| after[index] - before[index]);
        Ok(Span { event, seconds: start..end, departures, kills, retried, shares })
    }

    fn second(&self) -> usize {
        usize::try_from(self.record.began().elapsed().as_secs()).expect("a run of some hours")
    }
}

/// The figures of a run; what only the stage knows is still to be filled in.
fn reckon(
    args: &Args,
    seed: u64,
    record: &Record,
    spans: &[Span],
    seconds: u64,
    audit: Audit,
) -> Outcome {
    #[expect(clippy::cast_precision_loss, reason = "numbers of requests")]
    let due_s = |number: &u64| Duration::from_secs_f64(*number as f64 / args.rate).as_secs();
    let second = |number| usize::try_from(due_s(number)).expect("a run of some hours");
    let duplicates: Vec<usize> = audit.duplicates.iter().map(second).collect();
    let lines = measure::lines(record, spans, &duplicates);
    let seconds = usize::try_from(seconds).expect("a run of some hours");
    let calm = measure::calm_before(seconds, spans);
    let mut all = Line::of("all".to_owned(), 0..seconds, &record.total());
    all.p99_before_ms = record.tally_of(calm).quantile_ms(0.99);
    all.departures = spans.iter().map(|span| span.departures).sum();
    all.kills = spans.iter().map(|span| span.kills).sum();
    all.duplicates = u64::try_from(duplicates.len()).expect("a count");
    let mut graceful = Graceful::default();
    for line in lines.iter().filter(|line| line.class == Some(Class::Graceful)) {
        graceful.events += 1;
        graceful.failed += line.failed;
        graceful.asked_again += line.asked_again;
    }
    Outcome { seed, lines, all, graceful, connections: Totals::default(), audit, reckoning: None }
}
