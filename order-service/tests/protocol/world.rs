//! The whole protocol as one state machine: who may do what next, and what comes of it.
//!
//! What keeps it small and still says more than the service does:
//!
//! - **Time.** A lease may be over whenever somebody looks. So every worker may be a zombie, and no property rests on
//!   how long anything takes.
//! - **Crashes.** A worker that crashed is one that takes no step any more. The properties hold in every state, so they
//!   hold wherever everybody may have stopped. Handing a lease back (T5) is the same, the lease being over anyhow.
//! - **Network.** What was sent once may arrive at any time, in any order, again, or never. So may its answer.
//! - **Settlers.** Any number of them: a row of the outbox is told as often as its message arrives, and may be deleted
//!   once *some* telling was answered, or never.

use std::collections::BTreeSet;

use order_service::order::{decision::Verdict, key::Finding};
use stateright::{Model, Property};

use super::{
    Guards, Protocol, Role,
    account::{Account, Reply},
    database::Database,
    properties,
    real::{Asked, Claim, Fate, Told},
};

/// The fence of a row that is not the worker's.
const NOT_OWN: i32 = 0;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) today: u8,
    pub(crate) database: Database,
    pub(crate) account: Account,
    /// Whatever was ever sent.
    pub(crate) sent: BTreeSet<Message>,
    /// Whatever was ever answered.
    pub(crate) answers: BTreeSet<(Message, Reply)>,
    pub(crate) workers: Vec<Step>,
    deposits: u8,
}

/// What goes to the account service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Message {
    Reserve { worker: usize, order_id: u8 },
    Tell(Told),
}

/// Where a worker is: a flight of `placement/flight.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Start,
    /// Saw a key whose lease was over.
    Sees {
        claim: Claim,
        give_up: bool,
    },
    /// Owns the key, or did. Unless it gives up, its Reserve is on the way.
    Works {
        claim: Claim,
        give_up: bool,
    },
    /// Does not know what became of its settlement, or knows that it was overtaken.
    ReadsBack {
        claim: Claim,
        give_up: bool,
        overtaken: bool,
    },
    Landed(Landing),
}

/// What a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Landing {
    Decided { order_id: u8, asked: Asked, fate: Fate },
    Reused,
    Unknown,
}

/// Something that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// T0 and D. Unless `heard`, a claim that goes through is not known to have.
    Locate { worker: usize, heard: bool },
    /// The completer finds an undecided key.
    FindOverdue { worker: usize, day: usize, give_up: bool },
    /// T1.
    TakeOver { worker: usize },
    /// T3, T3', T4, by this answer to its Reserve. Unless `heard`, a commit is not known to have gone through.
    Decide { worker: usize, reply: Option<Reply>, heard: bool },
    /// T6.
    ReadBack { worker: usize, readable: bool },
    /// A message reaches the account service.
    Deliver(Message),
    /// A settler deletes a row of the outbox.
    Finish(Told),
    /// Money for one more order.
    Deposit,
    /// The key is kept no longer.
    Forget,
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            today: 0,
            database: Database::new(self.keys, self.stock),
            account: Account::new(self.funds),
            sent: BTreeSet::new(),
            answers: BTreeSet::new(),
            workers: vec![Step::Start; self.workers.len()],
            deposits: self.deposits,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (worker, step) in world.workers.iter().enumerate() {
            self.steps(world, worker, *step, actions);
        }
        actions.extend(world.sent.iter().copied().map(Action::Deliver));
        for notice in &world.database.outbox {
            let answered = world.answers.contains(&(Message::Tell(*notice), Reply::Done));
            if answered || !self.guards.notices_await_an_answer {
                actions.push(Action::Finish(*notice));
            }
        }
        if world.deposits > 0 {
            actions.push(Action::Deposit);
        }
        if self.may_forget(world) {
            actions.push(Action::Forget);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Locate { worker, heard } => self.locate(&mut world, worker, heard),
            Action::FindOverdue { worker, day, give_up } => {
                let claim = world.database.rows[day]?.claim;
                world.workers[worker] = Step::Sees { claim, give_up };
            }
            Action::TakeOver { worker } => self.take_over(&mut world, worker),
            Action::Decide { worker, reply, heard } => {
                self.decide(&mut world, worker, reply, heard);
            }
            Action::ReadBack { worker, readable } => {
                world.read_back(worker, readable, &self.guards)
            }
            Action::Deliver(message) => world.deliver(message, &self.guards),
            Action::Finish(notice) => world.database.outbox.retain(|row| *row != notice),
            Action::Deposit => {
                world.deposits -= 1;
                world.account.available += 1;
            }
            Action::Forget => {
                world.today = 1;
                world.database.forget();
            }
        }
        // A settler tells what is in the outbox; the network delays it as long as the settler might.
        world.sent.extend(world.database.outbox.iter().copied().map(Message::Tell));
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Protocol {
    /// A key is let go of once: days after it was decided.
    fn may_forget(&self, world: &World) -> bool {
        let Some(key) = world.database.rows[0].filter(|_| self.forgets && world.today == 0) else {
            return false;
        };
        let locates = |(worker, step): (usize, &Step)| {
            id(worker) == key.claim.order_id && matches!(step, Step::Start | Step::Sees { .. })
        };
        let claimed_again = world.workers.iter().enumerate().any(locates);
        (key.fate.is_some() || !self.guards.undecided_keys_are_kept)
            && !(claimed_again && self.guards.flights_end_before_keys_go)
    }

    fn steps(&self, world: &World, worker: usize, step: Step, actions: &mut Vec<Action>) {
        match (step, self.workers[worker]) {
            (Step::Start, Role::Request(_)) => {
                actions.push(Action::Locate { worker, heard: true });
                if world.database.read(world.today, &self.guards).is_none() {
                    actions.push(Action::Locate { worker, heard: false });
                }
            }
            (Step::Start, Role::Completer) => {
                for day in 0..world.database.rows.len() {
                    if world.database.rows[day].is_some_and(|key| key.fate.is_none()) {
                        let find = |give_up| Action::FindOverdue { worker, day, give_up };
                        actions.extend([false, true].map(find));
                    }
                }
            }
            (Step::Sees { .. }, _) => actions.push(Action::TakeOver { worker }),
            (Step::Works { give_up: true, .. }, _) => {
                let decide = |heard| Action::Decide { worker, reply: None, heard };
                actions.extend([false, true].map(decide));
            }
            (Step::Works { claim, give_up: false }, _) => {
                let asked = Message::Reserve { worker, order_id: claim.order_id };
                let answers = world.answers.iter().filter(|(message, _)| *message == asked);
                for reply in answers.map(|(_, reply)| Some(*reply)) {
                    actions.extend([false, true].map(|heard| Action::Decide {
                        worker,
                        reply,
                        heard,
                    }));
                }
            }
            (Step::ReadsBack { .. }, _) => {
                actions.extend([false, true].map(|readable| Action::ReadBack { worker, readable }));
            }
            (Step::Landed(_), _) => {}
        }
    }

    /// `Flight::locate`.
    fn locate(&self, world: &mut World, worker: usize, heard: bool) {
        let Role::Request(asked) = self.workers[worker] else { return };
        let order_id = id(worker);
        let claim = Claim { asked, order_id, fence: 1, day: world.today };
        let Some(found) = world.database.read(world.today, &self.guards) else {
            if self.guards.claims_come_first {
                world.database.claim(claim, &self.guards);
            }
            if heard {
                world.work(worker, claim, false);
            }
            return;
        };
        // Here a drawn id names a claim, as a drawn first fence does in the service: a row is the worker's own if it has
        // the worker's id and nobody took it over.
        let is_own = found.claim.order_id == order_id && found.claim.fence == 1;
        let fence = if is_own { found.claim.fence } else { NOT_OWN };
        world.workers[worker] = match found.row().judge(&asked.request(), fence) {
            Finding::Reused => Step::Landed(Landing::Reused),
            Finding::Decided(_) => Step::Landed(found.landing()),
            Finding::LeaseOver => Step::Sees { claim: found.claim, give_up: false },
            Finding::Mine => return world.work(worker, found.claim, false),
            // Asks again later.
            Finding::Running => Step::Start,
        };
    }

    fn take_over(&self, world: &mut World, worker: usize) {
        let Step::Sees { claim, give_up } = world.workers[worker] else { return };
        match world.database.take_over(claim, id(worker), &self.guards) {
            Some(claim) => world.work(worker, claim, give_up),
            // Somebody was faster; look again.
            None => world.workers[worker] = Step::Start,
        }
    }

    /// `Flight::decide` and `Flight::decided`.
    fn decide(&self, world: &mut World, worker: usize, reply: Option<Reply>, heard: bool) {
        let Step::Works { claim, give_up } = world.workers[worker] else { return };
        let verdict = match reply {
            None => Verdict::GaveUp,
            Some(Reply::Done) => Verdict::Reserved,
            Some(Reply::Refused(reason)) => Verdict::Declined { cause: reason.to_string() },
        };
        let settled = world.database.decide(claim, verdict, id(worker), &self.guards);
        let lost = !heard && !self.guards.notices_are_written_with_decisions;
        if let Some(notice) = settled.notice.filter(|_| lost) {
            world.database.outbox.retain(|row| *row != Told::of(&notice));
        }
        world.workers[worker] = match settled.decided {
            Some(decided) if heard => Step::Landed(Landing::Decided {
                order_id: claim.order_id,
                asked: claim.asked,
                fate: Fate::of(&decided.outcome),
            }),
            _ => Step::ReadsBack { claim, give_up, overtaken: heard },
        };
    }
}

impl World {
    fn work(&mut self, worker: usize, claim: Claim, give_up: bool) {
        if !give_up {
            self.sent.insert(Message::Reserve { worker, order_id: claim.order_id });
        }
        self.workers[worker] = Step::Works { claim, give_up };
    }

    /// `Flight::read_back`, and what its two callers make of it.
    fn read_back(&mut self, worker: usize, readable: bool, guards: &Guards) {
        let Step::ReadsBack { claim, give_up, overtaken } = self.workers[worker] else { return };
        let again = match overtaken {
            true => Step::Landed(Landing::Unknown),
            false => Step::Works { claim, give_up },
        };
        self.workers[worker] = match self.database.read(self.today, guards).filter(|_| readable) {
            None => again,
            Some(key) if key.claim.asked != claim.asked => Step::Landed(Landing::Reused),
            Some(key) if key.fate.is_some() => Step::Landed(key.landing()),
            Some(key) if key.claim.fence == claim.fence => again,
            Some(_) => Step::Landed(Landing::Unknown),
        };
    }

    fn deliver(&mut self, message: Message, guards: &Guards) {
        let reply = match message {
            Message::Reserve { order_id, .. } => self.account.reserve(order_id, guards),
            Message::Tell(Told { order_id, capture: true }) => self.account.capture(order_id),
            Message::Tell(Told { order_id, capture: false }) => {
                self.account.release(order_id, guards)
            }
        };
        self.answers.insert((message, reply));
    }
}

/// The id that a worker mints, for an order and for a payment alike.
fn id(worker: usize) -> u8 {
    worker.try_into().expect("there are few workers")
}
