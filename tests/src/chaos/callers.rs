//! Clients: each calls, waits, keeps what it was told, and calls again, until the run is over.
//!
//! What a client does next is drawn from its own part of the seed. What it is told is not, so neither is which of the
//! recent keys it meets: two runs of one seed have the same faults and the same wishes, not the same history.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Builder;

use super::calls::Pods;
use super::history::{Answer, Body, Call, Operation, Read};

/// Clients.
pub(super) const CLIENTS: u64 = 24;

/// What each draws from; accounts 1 to this, the first of them hot.
pub(super) const ACCOUNTS: i64 = 8;

/// The account that never has much: declines.
pub(super) const POOR: i64 = 9;

/// The product there is plenty of, and the one that runs out.
pub(super) const PLENTY: i64 = 1;
pub(super) const SCARCE: i64 = 2;

/// Between two calls of a client.
const THINKING: Duration = Duration::from_millis(15);

/// Keys, orders and reservations that others may meet again.
const RECENT: usize = 64;

/// One key of so many is met again long after the others: when its row has been let go of.
const AGED: usize = 16;

/// What clients share.
#[derive(Debug)]
pub(super) struct Desk {
    began: Instant,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    history: Vec<Operation>,
    placed: VecDeque<Call>,
    placed_total: usize,
    /// Some of those placed, over a longer time.
    aged: VecDeque<Call>,
    orders: VecDeque<(i64, String)>,
    /// Of them, those of which a part was given back.
    refunded: VecDeque<(i64, String)>,
    reserved: VecDeque<Call>,
}

impl Desk {
    /// A desk with nothing on it.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), memory: Mutex::default() }
    }

    /// All that was answered.
    #[must_use]
    pub(super) fn take_history(&self) -> Vec<Operation> {
        std::mem::take(&mut self.memory().history)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was answered until now.
    #[must_use]
    pub(super) fn history(&self) -> Vec<Operation> {
        self.memory().history.clone()
    }

    /// As the history tells times.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn now_us(&self) -> u64 {
        self.micros(Instant::now())
    }

    pub(super) async fn call(&self, pods: &Pods, pod: usize, call: Call) -> Answer {
        // Known before it is answered: another client may meet it on its way.
        self.memory().know(&call);
        let sent_us = self.now_us();
        let answer = pods.call(pod, &call).await;
        let answered_us = self.now_us();
        let mut memory = self.memory();
        if let (Call::Place { account, .. }, Some(order_id)) = (&call, answer.order_id()) {
            remember(&mut memory.orders, (*account, order_id.to_owned()));
        }
        let told = answer.clone();
        memory.history.push(Operation { sent_us, answered_us, pod, call, answer });
        told
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    fn know(&mut self, call: &Call) {
        match call {
            Call::Place { .. } => {
                if self.placed_total.is_multiple_of(AGED) {
                    remember(&mut self.aged, call.clone());
                }
                self.placed_total += 1;
                remember(&mut self.placed, call.clone());
            }
            Call::Reserve { .. } | Call::Release { .. } => {
                remember(&mut self.reserved, call.clone());
            }
            Call::Refund { account, order_id, .. } => {
                remember(&mut self.refunded, (*account, order_id.clone()));
            }
            Call::Cancel { .. } | Call::Deposit { .. } | Call::Read(_) => {}
        }
    }
}

fn remember<T>(ring: &mut VecDeque<T>, one: T) {
    if ring.len() == RECENT {
        ring.pop_front();
    }
    ring.push_back(one);
}

/// Starts all clients.
pub(super) fn start(
    desk: &Arc<Desk>,
    pods: &Arc<Pods>,
    seed: u64,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (desk, pods, stop) = (Arc::clone(desk), Arc::clone(pods), stop.clone());
        clients.spawn(async move {
            let mut client = Client::new(seed, number);
            while !stop.is_cancelled() {
                let pod = client.random.random_range(0..2);
                let call = client.wish(&desk.memory());
                desk.call(&pods, pod, call).await;
                tokio::time::sleep(THINKING).await;
            }
        });
    }
    clients
}

struct Client {
    random: StdRng,
    number: u64,
    made: u64,
}

impl Client {
    fn new(seed: u64, number: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed ^ ((number + 1) << 32)), number, made: 0 }
    }

    fn wish(&mut self, memory: &Memory) -> Call {
        match self.random.random_range(0..100) {
            0..42 => {
                let body = self.body();
                self.order(body)
            }
            42..61 => self.again(memory, false),
            61..64 => self.again(memory, true),
            64..68 => self.order(Body::Amount(90_000_000_000)),
            68..73 => {
                let pieces = self.random.random_range(1..4);
                self.order(Body::Pieces(SCARCE, pieces))
            }
            73..77 => self.cancel(memory),
            77..82 => self.reserve(memory),
            82..87 => self.release(memory),
            87..91 => self.refund(memory),
            91..95 => self.read(memory),
            _ => self.deposit(),
        }
    }

    fn name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.number, self.made)
    }

    /// Every third call meets the hot account.
    fn account(&mut self) -> i64 {
        if self.random.random_range(0..3) == 0 { 1 } else { self.random.random_range(1..=ACCOUNTS) }
    }

    fn body(&mut self) -> Body {
        let pieces = self.random.random_range(1..4);
        let units = 10_000 * self.random.random_range(1..50);
        if self.random.random_bool(0.4) {
            Body::Pieces(PLENTY, pieces)
        } else {
            Body::Amount(units)
        }
    }

    fn order(&mut self, body: Body) -> Call {
        let reject = self.random.random_bool(0.2);
        Call::Place { account: self.account(), key: self.name(), body, reject }
    }

    /// A key that somebody uses or used, with the same request or another.
    fn again(&mut self, memory: &Memory, differently: bool) -> Call {
        let aged = self.random.random_bool(0.25);
        match pick(&mut self.random, if aged { &memory.aged } else { &memory.placed }) {
            Some(Call::Place { account, key, body, .. }) => {
                let body = if differently { Body::Amount(77_700) } else { body };
                let reject = self.random.random_bool(0.3);
                Call::Place { account, key, body, reject }
            }
            _ => {
                let body = self.body();
                self.order(body)
            }
        }
    }

    /// Half of them of an order of which a part was given back, or is being given back.
    fn cancel(&mut self, memory: &Memory) -> Call {
        let refunded = self.random.random_bool(0.5) && !memory.refunded.is_empty();
        let orders = if refunded { &memory.refunded } else { &memory.orders };
        match pick(&mut self.random, orders) {
            Some((account, order_id)) => Call::Cancel { account, order_id },
            None => self.deposit(),
        }
    }

    /// Of a placed order or a cancelled one: less than any order costs.
    fn refund(&mut self, memory: &Memory) -> Call {
        let Some((account, order_id)) = pick(&mut self.random, &memory.orders) else {
            return self.deposit();
        };
        let units = 1_000 * self.random.random_range(1..10);
        Call::Refund { account, order_id, refund_id: format!("f-{}", self.name()), units }
    }

    fn read(&mut self, memory: &Memory) -> Call {
        let kind = self.random.random_range(0..3);
        Call::Read(match (kind, pick(&mut self.random, &memory.orders)) {
            (0, Some((account, order_id))) => Read::Order { account, order_id },
            (1, Some((account, order_id))) => Read::Payment { account, order_id },
            _ => Read::Product(PLENTY),
        })
    }

    /// Half of them of an id that was met before, reserved, declined or released.
    fn reserve(&mut self, memory: &Memory) -> Call {
        let again = self.random.random_bool(0.5);
        match pick(&mut self.random, &memory.reserved).filter(|_| again) {
            Some(again @ Call::Reserve { .. }) => again,
            Some(Call::Release { account, reserve_id }) => {
                let order_id = not_an_order(&reserve_id);
                Call::Reserve { account, reserve_id, order_id, units: 10_000 }
            }
            _ => {
                let units = 10_000 * self.random.random_range(1..30);
                let (reserve_id, order_id) = self.foreign(memory);
                Call::Reserve { account: POOR, reserve_id, order_id, units }
            }
        }
    }

    /// The ids of a reservation that has nothing to do with any order, though it may look as if it had: UUIDs of versions
    /// 4 and 8 as its own, the id of somebody else's order as its order's.
    fn foreign(&mut self, memory: &Memory) -> (String, String) {
        let bytes = self.random.random();
        let reserve_id = match self.random.random_range(0..4) {
            0 => Builder::from_random_bytes(bytes).into_uuid().to_string(),
            1 => Builder::from_custom_bytes(bytes).into_uuid().to_string(),
            _ => format!("r-{}", self.name()),
        };
        let order_id = match pick(&mut self.random, &memory.orders) {
            Some((_, order_id)) if self.random.random_bool(0.5) => order_id,
            Some(_) | None => not_an_order(&reserve_id),
        };
        (reserve_id, order_id)
    }

    /// Half of them of an id that nobody has reserved yet: tombstones.
    fn release(&mut self, memory: &Memory) -> Call {
        let again = self.random.random_bool(0.5);
        match pick(&mut self.random, &memory.reserved).filter(|_| again) {
            Some(
                Call::Reserve { account, reserve_id, .. } | Call::Release { account, reserve_id },
            ) => Call::Release { account, reserve_id },
            _ => Call::Release { account: POOR, reserve_id: format!("t-{}", self.name()) },
        }
    }

    fn deposit(&mut self) -> Call {
        let account = if self.random.random_bool(0.2) { POOR } else { self.account() };
        let units = 10_000 * self.random.random_range(1..4);
        Call::Deposit { account, deposit_id: format!("d-{}", self.name()), units }
    }
}

fn not_an_order(reserve_id: &str) -> String {
    format!("not an order: {reserve_id}")
}

fn pick<T: Clone>(random: &mut StdRng, from: &VecDeque<T>) -> Option<T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())).cloned() }
}
