//! The protocol of placing an order (T0 to T6, completer, settler), every interleaving of it, by exhaustive search.
//!
//! - [`world`] is the state machine, [`database`] and [`account`] are what it works on, [`properties`] is what must
//!   hold in every state.
//! - [`protocol`] holds them to the protocol as it is, in bounded worlds: one key, one account, at most three workers.
//! - [`guards`] takes one safeguard away at a time and names the property that breaks: the check of the check.
//!
//! Each search prints how many states it saw.

mod account;
mod check;
mod database;
mod guards;
mod properties;
mod protocol;
mod real;
mod world;

use database::Keys;
use real::Asked;

/// Order ids that may be minted: one a worker.
const ORDERS: usize = 3;

/// Who works on the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A caller's request, on a pod of its own.
    Request(Asked),
    /// The completer, for one key that it finds overdue.
    Completer,
}

/// A world to search.
#[derive(Debug, Clone)]
struct Protocol {
    workers: &'static [Role],
    keys: Keys,
    /// How many orders the account has money for.
    funds: u8,
    /// How many deposits, each for one order, may come at any time.
    deposits: u8,
    stock: u8,
    /// Whether a decided key may be let go of, once.
    forgets: bool,
    guards: Guards,
    /// The places that the search must show that it visited.
    visits: &'static [&'static str],
}

/// What keeps the protocol safe, each to be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Guards {
    /// A key is claimed, and committed, before money is asked for.
    claims_come_first: bool,
    /// Writes match the claim's fence,
    fences_are_checked: bool,
    /// and an undecided row,
    decisions_are_final: bool,
    /// and the claim's order. By day, as PostgreSQL keeps keys, its day says the same.
    writes_name_the_order: bool,
    /// A takeover reserves with the id that was minted with the claim.
    takeovers_keep_the_reservation: bool,
    /// A claim looks for an order that the key made; and so does whoever finds no row.
    orders_speak_for_their_keys: bool,
    /// `UNIQUE (account_id, idempotency_key)` on orders.
    a_key_is_unique_among_orders: bool,
    /// A failure is written only after a look for an order that the key made before.
    failures_look_for_orders: bool,
    /// The outbox row is in the decision's transaction.
    notices_are_written_with_decisions: bool,
    /// The outbox row is deleted only after an answer.
    notices_await_an_answer: bool,
    /// The account service remembers whom it declined,
    declines_are_stored: bool,
    /// and what was released before it was reserved.
    releases_leave_tombstones: bool,
    /// A key is let go of only when it is decided.
    undecided_keys_are_kept: bool,
    /// A refusal's row leaves the orders only when no claim is under way that began before the refusal.
    refusals_leave_late: bool,
    /// No flight tries to claim a key again, with the id it minted, after that key was decided and let go of: a flight
    /// would have to sleep through the days for which keys are kept.
    flights_end_before_keys_go: bool,
}

const REQUEST: Role = Role::Request(Asked::Product);
const OTHER_REQUEST: Role = Role::Request(Asked::Amount);

/// Two callers and a completer, money and stock for two orders, nothing let go of.
const USUAL: Protocol = Protocol {
    workers: &[REQUEST, REQUEST, Role::Completer],
    keys: Keys::Partitioned,
    funds: 2,
    deposits: 0,
    stock: 2,
    forgets: false,
    guards: Guards::ALL,
    visits: &[],
};

impl Guards {
    const ALL: Self = Self {
        claims_come_first: true,
        fences_are_checked: true,
        decisions_are_final: true,
        writes_name_the_order: true,
        takeovers_keep_the_reservation: true,
        orders_speak_for_their_keys: true,
        a_key_is_unique_among_orders: true,
        failures_look_for_orders: true,
        notices_are_written_with_decisions: true,
        notices_await_an_answer: true,
        declines_are_stored: true,
        releases_leave_tombstones: true,
        undecided_keys_are_kept: true,
        refusals_leave_late: true,
        flights_end_before_keys_go: true,
    };
}
