//! The protocol of placing an order, every interleaving of it.

mod account;
mod database;
mod properties;
mod real;
mod world;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use database::Keys;
use real::Asked;

/// The most order ids that are minted: one a worker.
const ORDERS: usize = 3;

/// Who works on the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A caller's request on a pod of its own.
    Request(Asked),
    /// The completer, for one key it finds overdue.
    Completer,
}

/// A world to check.
#[derive(Debug, Clone)]
struct Protocol {
    workers: Vec<Role>,
    keys: Keys,
    /// How many orders the account has money for, and how many deposits of as much may come.
    funds: u8,
    deposits: u8,
    stock: u8,
    /// Whether decided keys are let go of.
    forgets: bool,
    guards: Guards,
    /// The places that the run must show that it visited.
    visits: &'static [&'static str],
}

/// What keeps the protocol safe, each to be switched off.
#[derive(Debug, Clone, Copy)]
struct Guards {
    claims_come_first: bool,
    fences_are_checked: bool,
    decisions_are_final: bool,
    writes_name_the_order: bool,
    takeovers_keep_the_reservation: bool,
    a_key_is_unique_among_orders: bool,
    failures_look_for_orders: bool,
    notices_are_written_with_decisions: bool,
    notices_await_an_answer: bool,
    declines_are_stored: bool,
    releases_leave_tombstones: bool,
}

impl Guards {
    const ALL: Self = Self {
        claims_come_first: true,
        fences_are_checked: true,
        decisions_are_final: true,
        writes_name_the_order: true,
        takeovers_keep_the_reservation: true,
        a_key_is_unique_among_orders: true,
        failures_look_for_orders: true,
        notices_are_written_with_decisions: true,
        notices_await_an_answer: true,
        declines_are_stored: true,
        releases_leave_tombstones: true,
    };
}

const REQUEST: Role = Role::Request(Asked::Product);

#[test]
fn explore() {
    for forgets in [false, true] {
    for keys in [Keys::Partitioned, Keys::OneTable] {
    for workers in [vec![REQUEST, REQUEST], vec![REQUEST, Role::Completer], vec![REQUEST, REQUEST, Role::Completer]] {
    for funds in [0, 1, 2] {
        let p = Protocol { workers: workers.clone(), keys, funds, deposits: 0, stock: 2, forgets, guards: Guards::ALL, visits: &[] };
        let started = Instant::now();
        let c = p.checker().timeout(std::time::Duration::from_secs(40)).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        println!("{workers:?} {keys:?} funds {funds} forgets {forgets}: {} unique, {} total, depth {}, {:?}", c.unique_state_count(), c.state_count(), c.max_depth(), started.elapsed());
        for (name, path) in c.discoveries() {
            println!("  {name}: {:?}", path.into_actions());
        }
    }}}}
    let _ = Expectation::Always;
}
