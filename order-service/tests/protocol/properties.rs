//! What must hold in every state, and what some state must show.

use order_service::order::key::GAVE_UP;
use proto::Reason;
use stateright::Property;

use super::{
    Protocol, Role,
    account::{Reply, State},
    database::Key,
    real::{Asked, Claim, Fate, Told},
    world::{Landing, Message, Step, World},
};

pub(crate) const ONE_ORDER: &str = "a key makes at most one order";
pub(crate) const TAKEN_ONCE: &str = "money is taken at most once";
pub(crate) const TAKEN_FOR_AN_ORDER: &str = "money is taken only for an order";
pub(crate) const PAID: &str = "an order is paid for, or its capture is in the outbox";
pub(crate) const HELD_FOR_A_REASON: &str = "money is held only for a live key or a notice";
pub(crate) const REFUSED_FOR_EVER: &str = "a refused reservation is never held";
pub(crate) const FENCED: &str = "a stale fence writes nothing";
pub(crate) const ONE_ANSWER: &str = "all who are told of an order are told of the same";
pub(crate) const TRUE_ANSWER: &str = "who is told of an order has it";
pub(crate) const TRUE_REFUSAL: &str = "who is told that the key is another's has no order";
pub(crate) const FAILED_WITHOUT_ORDER: &str = "a failed key has no order";
pub(crate) const NEVER_REFUSED: &str = "the account service refuses no notice";
pub(crate) const ONE_HOLDER: &str = "a fence has one holder";
pub(crate) const STOCK: &str = "stock is taken for orders only";

/// What must hold in every state, and the places that this run must have visited.
pub(crate) fn all(protocol: &Protocol) -> Vec<Property<Protocol>> {
    let visited = places().into_iter().filter(|place| protocol.visits.contains(&place.name));
    invariants().into_iter().chain(visited).collect()
}

pub(crate) fn invariants() -> Vec<Property<Protocol>> {
    vec![
        always(ONE_ORDER, |_, world| world.database.orders.len() <= 1),
        always(TAKEN_ONCE, |_, world| world.count(State::Captured) <= 1),
        always(TAKEN_FOR_AN_ORDER, |_, world| {
            world.all(State::Captured, |order_id| world.has_order(order_id))
        }),
        always(PAID, |_, world| {
            world.database.orders.iter().all(|order| {
                let capture = Told { order_id: order.order_id, capture: true };
                world.state(order.order_id) == State::Captured
                    || world.state(order.order_id) == State::Held
                        && world.database.outbox.contains(&capture)
            })
        }),
        always(HELD_FOR_A_REASON, |_, world| {
            world.all(State::Held, |order_id| {
                let rows = world.database.rows.iter().flatten();
                let mut live = rows.filter(|key| key.fate.is_none());
                live.any(|key| key.claim.order_id == order_id)
                    || world.database.outbox.iter().any(|notice| notice.order_id == order_id)
            })
        }),
        always(REFUSED_FOR_EVER, |_, world| {
            let held = |state| matches!(state, State::Held | State::Captured);
            !world.account.reservations.iter().any(|row| row.refused && held(row.state))
        }),
        always(FENCED, |_, world| !world.database.stale_write),
        always(ONE_ANSWER, |_, world| {
            let mut told = world.landings().filter(is_placed);
            told.next().is_none_or(|first| told.all(|landing| landing == first))
        }),
        always(TRUE_ANSWER, |protocol, world| {
            protocol
                .workers
                .iter()
                .zip(&world.workers)
                .all(|(role, step)| told_truly(world, role, step))
        }),
        always(TRUE_REFUSAL, |protocol, world| {
            protocol.workers.iter().zip(&world.workers).all(|(role, step)| match (role, step) {
                (Role::Request(wanted), Step::Landed(Landing::Reused)) => {
                    world.database.orders.iter().all(|order| order.asked != *wanted)
                }
                (Role::Request(_) | Role::Completer, _) => true,
            })
        }),
        always(FAILED_WITHOUT_ORDER, |_, world| {
            let keys = [world.visible(), world.database.refusal];
            let mut fates = keys.into_iter().flatten().filter_map(|key| key.fate);
            fates.all(|fate| matches!(fate, Fate::Placed { .. }))
                || world.database.orders.is_empty()
        }),
        always(NEVER_REFUSED, |_, world| {
            let refused = |(message, reply): &(Message, Reply)| {
                matches!((message, reply), (Message::Tell(_), Reply::Refused(_)))
            };
            !world.answers.iter().any(refused)
        }),
        always(ONE_HOLDER, |_, world| {
            let claims = world.workers.iter().filter_map(|step| match step {
                Step::Works { claim, .. } => Some((claim.day, claim.fence)),
                Step::Start
                | Step::Claims { .. }
                | Step::Sees { .. }
                | Step::ReadsBack { .. }
                | Step::Landed(_) => None,
            });
            let mut claims: Vec<_> = claims.collect();
            claims.sort_unstable();
            claims.windows(2).all(|pair| pair[0] != pair[1])
        }),
        always(STOCK, |protocol, world| {
            let sold = world.database.orders.iter().filter(|order| order.asked == Asked::Product);
            usize::from(world.database.stock) + sold.count() == usize::from(protocol.stock)
        }),
    ]
}

pub(crate) const TAKEOVER: &str = "a key was taken over";
pub(crate) const ZOMBIE_FENCED: &str = "a zombie was fenced";
pub(crate) const TOMBSTONE_REFUSED: &str = "a tombstone refused a Reserve that came late";
pub(crate) const RESTORED: &str = "a key was restored from its earlier order";
pub(crate) const GIVEN_UP: &str = "a key was given up";
pub(crate) const DECLINE_REPLAYED: &str = "a decline was replayed";
pub(crate) const ORDER_REPLAYED: &str = "an order was replayed";
pub(crate) const REUSE_REFUSED: &str = "another request under the key was refused";
pub(crate) const SOLD_OUT: &str = "stock ran out while the money was held";
pub(crate) const COMMIT_READ_BACK: &str = "a commit whose outcome was not known was read back";
pub(crate) const ALL_DONE: &str = "an order is paid for and nothing is left to do";

fn places() -> Vec<Property<Protocol>> {
    vec![
        sometimes(TAKEOVER, |_, world| {
            world.database.rows.iter().flatten().any(|key| key.claim.fence > 1)
        }),
        sometimes(ZOMBIE_FENCED, |_, world| {
            let fenced = |step: &Step| matches!(step, Step::ReadsBack { overtaken: true, .. });
            world.workers.iter().any(fenced)
        }),
        sometimes(TOMBSTONE_REFUSED, |_, world| {
            world.answers.iter().any(|(message, reply)| match message {
                Message::Reserve { order_id, .. } => {
                    *reply == Reply::Refused(Reason::ReservationReleased)
                        && world.state(*order_id) == State::Released { tombstone: true }
                }
                Message::Tell(_) => false,
            })
        }),
        sometimes(RESTORED, |_, world| {
            let row = world.visible().map(|key| key.claim);
            let restored_by = |claim: &Claim| {
                row.is_some_and(|row| {
                    (row.day, row.fence) == (claim.day, claim.fence)
                        && row.order_id != claim.order_id
                })
            };
            world.workers.iter().any(|step| match step {
                Step::ReadsBack { claim, .. } => restored_by(claim),
                Step::Start
                | Step::Claims { .. }
                | Step::Sees { .. }
                | Step::Works { .. }
                | Step::Landed(_) => false,
            })
        }),
        sometimes(GIVEN_UP, |_, world| {
            let given_up = Some(Fate::Declined(GAVE_UP));
            world.database.rows.iter().flatten().any(|key| key.fate == given_up)
        }),
        sometimes(DECLINE_REPLAYED, |_, world| {
            let declined = Fate::Declined(Reason::InsufficientFunds.as_str());
            world.landings().filter(|landing| landing.fate() == Some(declined)).count() > 1
        }),
        sometimes(ORDER_REPLAYED, |_, world| world.landings().filter(is_placed).count() > 1),
        sometimes(REUSE_REFUSED, |_, world| {
            world.landings().any(|landing| landing == Landing::Reused)
        }),
        sometimes(SOLD_OUT, |_, world| {
            let sold_out = |fate| fate == Some(Fate::SoldOut);
            world
                .database
                .rows
                .iter()
                .flatten()
                .any(|key| sold_out(key.fate) && world.state(key.claim.order_id) == State::Held)
        }),
        sometimes(COMMIT_READ_BACK, |_, world| {
            let unheard = |step: &Step| matches!(step, Step::ReadsBack { overtaken: false, .. });
            world.workers.iter().any(unheard) && !world.database.orders.is_empty()
        }),
        sometimes(ALL_DONE, |protocol, world| {
            let at_rest =
                protocol.workers.iter().zip(&world.workers).all(|(role, step)| match step {
                    Step::Landed(_) => true,
                    Step::Start => *role == Role::Completer,
                    Step::Claims { .. }
                    | Step::Sees { .. }
                    | Step::Works { .. }
                    | Step::ReadsBack { .. } => false,
                });
            at_rest && world.database.outbox.is_empty() && world.count(State::Captured) == 1
        }),
    ]
}

fn always(name: &'static str, holds: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, is_so: fn(&Protocol, &World) -> bool) -> Property<Protocol> {
    Property::sometimes(name, is_so)
}

/// Whoever is told of an order asked for it, and it is there.
fn told_truly(world: &World, role: &Role, step: &Step) -> bool {
    match (role, step) {
        (
            Role::Request(wanted),
            Step::Landed(Landing::Decided { order_id, asked, fate: Fate::Placed { payment } }),
        ) => {
            asked == wanted
                && world.database.orders.iter().any(|order| {
                    (order.order_id, order.payment, order.asked) == (*order_id, *payment, *asked)
                })
        }
        (Role::Request(_) | Role::Completer, _) => true,
    }
}

fn is_placed(landing: &Landing) -> bool {
    matches!(landing.fate(), Some(Fate::Placed { .. }))
}

impl Landing {
    fn fate(self) -> Option<Fate> {
        match self {
            Self::Decided { fate, .. } => Some(fate),
            Self::Reused | Self::Unknown => None,
        }
    }
}

impl World {
    fn visible(&self) -> Option<Key> {
        self.database.visible(self.today)
    }

    fn state(&self, order_id: u8) -> State {
        self.account.reservations[usize::from(order_id)].state
    }

    fn count(&self, state: State) -> usize {
        self.account.reservations.iter().filter(|row| row.state == state).count()
    }

    /// Whether this holds for all reservations in this state.
    fn all(&self, state: State, holds: impl Fn(u8) -> bool) -> bool {
        let ids = 0..u8::try_from(self.account.reservations.len()).expect("there are few orders");
        ids.filter(|id| self.state(*id) == state).all(holds)
    }

    fn has_order(&self, order_id: u8) -> bool {
        self.database.orders.iter().any(|order| order.order_id == order_id)
    }

    fn landings(&self) -> impl Iterator<Item = Landing> {
        self.workers.iter().filter_map(|step| match step {
            Step::Landed(landing) => Some(*landing),
            Step::Start
            | Step::Claims { .. }
            | Step::Sees { .. }
            | Step::Works { .. }
            | Step::ReadsBack { .. } => None,
        })
    }
}
