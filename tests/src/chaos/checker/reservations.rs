//! What is true of each reservation that clients made themselves, and of what is held.

use std::collections::BTreeSet;

use super::{Breach, Case, Rule, breach, grouped};
use crate::chaos::history::{Answer, Call, Operation};
use crate::chaos::state::Reservation;

pub(super) fn check(case: Case<'_>) -> Vec<Breach> {
    let groups = grouped(case.history, |call| match call {
        Call::Reserve { account, reserve_id, .. } | Call::Release { account, reserve_id } => {
            Some((*account, reserve_id.clone()))
        }
        Call::Place { .. }
        | Call::Cancel { .. }
        | Call::Deposit { .. }
        | Call::Refund { .. }
        | Call::Read(_) => None,
    });
    let mut breaches = Vec::new();
    for (name, operations) in &groups {
        let stored = case.state.reservations.get(name);
        breaches.extend(decline_is_final(name, operations, stored));
        breaches.extend(release_is_final(name, operations, stored));
    }
    let asked: BTreeSet<_> = groups.into_keys().collect();
    breaches.extend(held_for_nothing(case, &asked));
    breaches
}

type Name = (i64, String);

fn decline_is_final(
    (account, id): &Name,
    operations: &[&Operation],
    stored: Option<&Reservation>,
) -> Option<Breach> {
    let declined = |o: &&&Operation| o.answer.reason() == Some("INSUFFICIENT_FUNDS");
    let first = operations.iter().filter(declined).map(|o| o.answered_us).min()?;
    let accepted =
        operations.iter().any(|o| is_reserve(o) && o.answer == Answer::Done && o.sent_us > first);
    let stands = stored.is_some_and(|stored| stored.state == "DECLINED");
    let why = format!("reservation {id} of {account} was declined and is {stored:?}");
    let broken = accepted || !stands;
    broken.then(|| breach(Rule::DeclineIsFinal, why, operations.iter().copied()))
}

/// A Reserve that overlaps with the Release may have come first; one sent after its answer may not.
fn release_is_final(
    (account, id): &Name,
    operations: &[&Operation],
    stored: Option<&Reservation>,
) -> Option<Breach> {
    let released = |o: &&&Operation| !is_reserve(o) && o.answer == Answer::Done;
    let first = operations.iter().filter(released).map(|o| o.answered_us).min()?;
    let accepted =
        operations.iter().any(|o| is_reserve(o) && o.answer == Answer::Done && o.sent_us > first);
    let over = ["RELEASED", "DECLINED"];
    let stands = stored.is_some_and(|stored| over.contains(&stored.state.as_str()));
    let why = format!("reservation {id} of {account} was released and is {stored:?}");
    let broken = accepted || !stands;
    broken.then(|| breach(Rule::ReleaseIsFinal, why, operations.iter().copied()))
}

/// At rest only what a client reserved itself is held; orders' reservations are captured or released.
fn held_for_nothing(case: Case<'_>, asked: &BTreeSet<Name>) -> Vec<Breach> {
    let held = case.state.reservations.iter().filter(|(_, stored)| stored.state == "HELD");
    let unasked = held.filter(|(name, _)| !asked.contains(*name));
    unasked
        .map(|((account, id), stored)| {
            let why =
                format!("{} is held on account {account} under {id}, for nothing", stored.units);
            breach(Rule::NothingHeldForNothing, why, [])
        })
        .collect()
}

fn is_reserve(operation: &Operation) -> bool {
    matches!(operation.call, Call::Reserve { .. })
}
