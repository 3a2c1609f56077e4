//! One run: load, faults on schedule, quiet, judgement.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use failpoint::Safeguard;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::callers::{self, Desk};
use super::checker::{self, Breach, Case, Rule};
use super::history::{Answer, Call, Operation};
use super::place::Place;
use super::schedule::{Backend, Event, schedule};
use super::sometimes::Sometimes;
use super::state::State;
use super::world::World;
use crate::HarnessError;

/// Between two looks at the counters.
const LOOK: Duration = Duration::from_millis(500);

/// Clients end after their call's deadline, at the latest.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// Breaches that are shown; all are counted.
const SHOWN: usize = 5;

/// A run of this length or longer must have seen everything that can be seen at least once.
const FULL: Duration = Duration::from_secs(170);

/// What to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Of schedule and wishes.
    pub seed: u64,
    /// Of the load.
    pub length: Duration,
    /// Of the books.
    pub place: Place,
    /// What the services do without.
    pub without: Option<Safeguard>,
    /// Keys are rows of their orders.
    pub keys_in_orders: bool,
}

/// What came of it: one line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// No breach; and, in a full run, nothing that never happened.
    pub ok: bool,
    /// As asked for.
    pub seed: u64,
    /// As asked for.
    pub seconds: u64,
    /// `postgres`, `server` or `sqlite`.
    pub database: &'static str,
    /// What was switched off.
    pub without: Option<String>,
    /// Calls that were answered.
    pub operations: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Orders in the books.
    pub orders: usize,
    /// Requests for orders without a definite answer, and how many of their keys turned out to have an order.
    pub unknown: usize,
    /// See `unknown`.
    pub unknown_placed: usize,
    /// From the last fault's end to nothing undecided and nothing untold.
    pub quiet_after_ms: u64,
    /// What happened how often.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// What never did.
    pub never: Vec<&'static str>,
    /// All of them.
    pub breaches_total: usize,
    /// Of them, those of each rule.
    pub breaches_by_rule: BTreeMap<String, usize>,
    /// The first, smallest history first.
    pub breaches: Vec<Breach>,
}

/// Runs.
///
/// # Errors
/// When the harness cannot do its part; a breach is no error.
pub async fn run(order: &Order) -> Result<Report, HarnessError> {
    let mut world = World::start(&order.place, order.without).await?;
    if order.without == Some(Safeguard::OrderUnique) {
        let removed = world.books.allow_two_orders_a_key().await;
        removed.map_err(|source| HarnessError::Database { what: "drop a key".into(), source })?;
    }
    if order.keys_in_orders {
        let moved = world.books.claim_in_orders().await;
        moved.map_err(|source| HarnessError::Database {
            what: "change the layout".into(),
            source,
        })?;
    }
    let opening = world.open().await?;
    let events = schedule(order.seed, order.length, order.place.backend());
    let (desk, pods) = (Arc::new(Desk::new()), Arc::new(world.pods()?));
    let stop = CancellationToken::new();
    let mut clients = callers::start(&desk, &pods, order.seed, &stop);
    let mut sometimes = Sometimes::default();
    misbehave(&mut world, &events, order.length, &mut sometimes).await?;
    stop.cancel();
    let all = async { while clients.join_next().await.is_some() {} };
    let _aborted_with_the_set = timeout(LAST_CALLS, all).await;
    let restored = if goes_back(order.without) { world.restore(&desk, &pods).await? } else { None };
    let began = Instant::now();
    world.quiet().await?;
    let quiet_after = began.elapsed();
    world.look(&mut sometimes).await;

    let history = desk.take_history();
    let state = world.books.read().await;
    let mut state = state.map_err(|error| HarnessError::Failed {
        what: "reading the books".to_owned(),
        output: error.to_string(),
    })?;
    for ((began, ended), key) in std::mem::take(&mut world.forgotten) {
        state.forgotten.entry(key).or_default().push((desk.micros(began), desk.micros(ended)));
    }
    state.restored = restored;
    let mut breaches = checker::check(Case { opening: &opening, history: &history, state: &state });
    let wrong = world.verify().await?;
    let of_books = |why| Breach { rule: Rule::BooksAreSound, why, history: Vec::new() };
    breaches.extend(wrong.into_iter().map(of_books));
    Ok(report(order, &events, quiet_after, &history, &state, &sometimes, breaches))
}

/// Whether a run goes back to the copy. Without another safeguard than that against its loss it does not: ids that are drawn
/// for the sake of that one would be found instead, and a repair would mend what is to be found.
fn goes_back(without: Option<Safeguard>) -> bool {
    without.is_none_or(|without| without == Safeguard::DerivedIds)
}

/// Carries the schedule out and looks at the counters meanwhile.
async fn misbehave(
    world: &mut World,
    events: &[Event],
    length: Duration,
    sometimes: &mut Sometimes,
) -> Result<(), HarnessError> {
    // What beginning and ending a fault take is no part of its time, nor of the calm after it.
    let mut began = Instant::now();
    for Event { at, fault, lasts } in events {
        watch(world, began + *at, sometimes).await;
        world.look(sometimes).await;
        let beginning = Instant::now();
        world.begin(*fault).await?;
        began += beginning.elapsed();
        watch(world, began + *at + *lasts, sometimes).await;
        let ending = Instant::now();
        world.end(*fault).await?;
        began += ending.elapsed();
    }
    watch(world, began + length, sometimes).await;
    Ok(())
}

async fn watch(world: &World, until: Instant, sometimes: &mut Sometimes) {
    while Instant::now() < until {
        sleep_until(until.min(Instant::now() + LOOK)).await;
        world.look(sometimes).await;
    }
}

fn report(
    order: &Order,
    events: &[Event],
    quiet_after: Duration,
    history: &[Operation],
    state: &State,
    sometimes: &Sometimes,
    mut breaches: Vec<Breach>,
) -> Report {
    let mut sometimes = sometimes.counts(history);
    sometimes.insert("refusal_forgotten", state.forgotten.len() as u64);
    sometimes.insert("lost_and_placed_again", placed_again(history, state));
    let cannot =
        |name: &&str| *name == "commit_unknown" && order.place.backend() == Backend::Sqlite;
    let never = sometimes.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name);
    let never: Vec<_> = never.filter(|name| !cannot(name)).collect();
    let (unknown, unknown_placed) = unknown(history, state);
    let breaches_total = breaches.len();
    let breaches_by_rule = counted(breaches.iter().map(|breach| breach.rule));
    breaches.truncate(SHOWN);
    Report {
        ok: breaches_total == 0 && (order.length < FULL || never.is_empty()),
        seed: order.seed,
        seconds: order.length.as_secs(),
        database: match order.place {
            Place::Private => "postgres",
            Place::Server(_) => "server",
            Place::Sqlite => "sqlite",
        },
        without: order.without.map(|safeguard| safeguard.to_string()),
        operations: history.len(),
        faults: counted(events.iter().map(|event| event.fault)),
        orders: state.orders.len(),
        unknown,
        unknown_placed,
        quiet_after_ms: u64::try_from(quiet_after.as_millis()).unwrap_or(u64::MAX),
        sometimes,
        never,
        breaches_total,
        breaches_by_rule,
        breaches,
    }
}

/// How many there are of each kind, by the name of its variant.
fn counted(all: impl Iterator<Item = impl Debug>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in all {
        let kind = format!("{one:?}");
        let kind = kind.split('(').next().unwrap_or_default().to_owned();
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// Orders that callers were told of, lost, and placed once more.
fn placed_again(history: &[Operation], state: &State) -> u64 {
    let Some((_, restored)) = state.restored else { return 0 };
    let is_fresh = |o: &&Operation| {
        o.sent_us >= restored && matches!(o.answer, Answer::Placed { replayed: false, .. })
    };
    let ids = history.iter().filter(is_fresh).filter_map(|o| o.answer.order_id());
    let fresh: HashSet<_> = ids.collect();
    let before = history.iter().filter(|o| o.sent_us < restored);
    let told: HashSet<_> = before.filter_map(|o| o.answer.order_id()).collect();
    fresh.intersection(&told).count() as u64
}

fn unknown(history: &[Operation], state: &State) -> (usize, usize) {
    let placed: HashSet<_> =
        state.orders.iter().map(|order| (order.account, order.key.as_str())).collect();
    let keys = history.iter().filter_map(|operation| match (&operation.call, &operation.answer) {
        (Call::Place { account, key, .. }, Answer::Unknown(_)) => Some((*account, key.as_str())),
        _ => None,
    });
    let keys: Vec<_> = keys.collect();
    (keys.len(), keys.iter().filter(|key| placed.contains(*key)).count())
}
