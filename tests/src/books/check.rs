//! The invariants that need both sides: pure.

use std::collections::HashMap;

use serde::Serialize;

use super::read::{Name, Order, Orders, Reservation, Wait};

/// How long an outbox row may wait: as `order-service verify` has it unless told otherwise.
const WAIT_SECONDS_MAX: i64 = 60 * 60;

/// A breach, with the rows that show it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Breach {
    invariant: &'static str,
    row: String,
}

/// All breaches, in an order that is the same each time.
pub(super) fn all(orders: &Orders, reservations: &HashMap<Name, Reservation>) -> Vec<Breach> {
    let paid = orders
        .placed
        .iter()
        .filter_map(|(name, order)| unpaid(name, order, orders, reservations.get(name)));
    let held = reservations.iter().filter_map(|(name, held)| unreasoned(name, held, orders));
    let stuck = orders.waiting.iter().filter_map(|(row, wait)| stuck(row, wait));
    let mut breaches: Vec<_> = paid.chain(held).chain(stuck).collect();
    breaches.sort();
    breaches
}

fn unpaid(
    name: &Name,
    order: &Order,
    orders: &Orders,
    reservation: Option<&Reservation>,
) -> Option<Breach> {
    let waits_for = |action| orders.waits_for(name, action);
    let resolved = |action: &str| orders.resolved.contains(&(*name, action.to_owned()));
    let given_up = resolved("CAPTURE") || order.cancelled && resolved("REFUND");
    let breach = |invariant, why: String| {
        let (account, order_id) = name;
        Some(Breach { invariant, row: format!("account {account} order {order_id}: {why}") })
    };

    let Some(Reservation { state, captured, refunded, by_cancel }) = reservation else {
        return if given_up { None } else { breach("I5", "has no reservation".into()) };
    };
    match state.as_str() {
        "CAPTURED" => {}
        "HELD" if waits_for("CAPTURE") || waits_for("REFUND") => return None,
        "HELD" => return breach("I5", "is held, and no capture waits in the outbox".into()),
        // Its money never left the account.
        "RELEASED" | "EXPIRED" if order.cancelled => return None,
        _ if given_up => return None,
        final_state => {
            return breach("I11", format!("lives on a reservation that is {final_state}"));
        }
    }

    // A cancel gives back whatever was captured; others may refund of an order that stands.
    if order.cancelled {
        let settled = refunded == captured || waits_for("REFUND") || resolved("REFUND");
        let owes = || breach("I5", format!("owes {captured} back, refunded {refunded}"));
        return if settled { None } else { owes() };
    }
    if *by_cancel {
        return breach("I5", format!("stands, but was given back: {refunded} of {captured}"));
    }
    let settled = *captured == order.amount || given_up;
    if settled {
        None
    } else {
        breach("I5", format!("costs {}, captured {captured}", order.amount))
    }
}

fn unreasoned(name: &Name, reservation: &Reservation, orders: &Orders) -> Option<Breach> {
    let reason = orders.undecided.contains(name)
        || ["CAPTURE", "RELEASE", "REFUND"].iter().any(|action| orders.waits_for(name, action));
    let given_up = orders.resolved.contains(&(*name, "RELEASE".to_owned()));
    let (account, order_id) = name;
    // What was captured without an order is money taken for nothing.
    let row = match reservation.state.as_str() {
        "HELD" if !reason => {
            format!("account {account} reservation {order_id} is held for nothing")
        }
        "CAPTURED" if !orders.placed.contains_key(name) && !given_up => {
            format!("account {account} reservation {order_id} was captured without an order")
        }
        _ => return None,
    };
    Some(Breach { invariant: "I6", row })
}

/// A row that was refused or has waited too long is no promise that its money will move.
fn stuck((name, action): &(Name, String), wait: &Wait) -> Option<Breach> {
    let (account, order_id) = name;
    let why = match wait {
        Wait { refused: true, .. } => "which is refused".to_owned(),
        Wait { age_seconds, .. } if *age_seconds > WAIT_SECONDS_MAX => {
            format!("for {age_seconds} s by now")
        }
        Wait { .. } => return None,
    };
    let row = format!("account {account} order {order_id} waits for {action}, {why}");
    Some(Breach { invariant: "I5", row })
}

impl Orders {
    /// Whether the outbox will do this before long.
    fn waits_for(&self, name: &Name, action: &str) -> bool {
        let row = (*name, action.to_owned());
        self.waiting.get(&row).is_some_and(|wait| stuck(&row, wait).is_none())
    }
}

#[cfg(test)]
mod tests {
    use proto::Money;
    use uuid::Uuid;

    use super::*;

    const NAME: Name = (1, Uuid::from_u128(7));

    fn money(text: &str) -> Money {
        Money::parse_or_zero(text).unwrap()
    }

    fn reserved(state: &str, captured: &str, refunded: &str) -> HashMap<Name, Reservation> {
        let (captured, refunded) = (money(captured), money(refunded));
        let by_cancel = false;
        HashMap::from([(NAME, Reservation { state: state.into(), captured, refunded, by_cancel })])
    }

    fn given_back(captured: &str, refunded: &str) -> HashMap<Name, Reservation> {
        let mut reservations = reserved("CAPTURED", captured, refunded);
        reservations.get_mut(&NAME).unwrap().by_cancel = true;
        reservations
    }

    fn ordered(cancelled: bool, waiting: &[&str]) -> Orders {
        waiting_since(cancelled, waiting, WAIT_SECONDS_MAX, false)
    }

    fn waiting_since(cancelled: bool, waiting: &[&str], age_seconds: i64, refused: bool) -> Orders {
        let wait = || Wait { refused, age_seconds };
        Orders {
            placed: HashMap::from([(NAME, Order { amount: money("10"), cancelled })]),
            waiting: waiting.iter().map(|action| ((NAME, (*action).to_owned()), wait())).collect(),
            ..Orders::default()
        }
    }

    fn resolved(cancelled: bool, action: &str) -> Orders {
        Orders { resolved: [(NAME, action.to_owned())].into(), ..ordered(cancelled, &[]) }
    }

    fn broken(orders: &Orders, reservations: &HashMap<Name, Reservation>) -> Vec<&'static str> {
        all(orders, reservations).into_iter().map(|breach| breach.invariant).collect()
    }

    #[test]
    fn what_is_sound_is_no_breach() {
        for (orders, reservations) in [
            (ordered(false, &[]), reserved("CAPTURED", "10", "0")),
            (ordered(false, &["CAPTURE"]), reserved("HELD", "0", "0")),
            (ordered(false, &[]), reserved("CAPTURED", "10", "4")),
            (ordered(false, &[]), reserved("CAPTURED", "10", "10")),
            (ordered(true, &[]), reserved("CAPTURED", "10", "10")),
            (ordered(true, &[]), given_back("10", "10")),
            (ordered(true, &[]), reserved("RELEASED", "0", "0")),
            (ordered(true, &[]), given_back("6", "6")),
            (ordered(true, &["REFUND"]), reserved("CAPTURED", "10", "0")),
            (Orders { undecided: [NAME].into(), ..Orders::default() }, reserved("HELD", "0", "0")),
            (Orders::default(), reserved("DECLINED", "0", "0")),
        ] {
            assert!(broken(&orders, &reservations).is_empty(), "{orders:?} {reservations:?}");
        }
    }

    #[test]
    fn what_is_not_sound_is_named() {
        for (orders, reservations, invariants) in [
            (ordered(false, &[]), HashMap::new(), &["I5"][..]),
            (ordered(false, &[]), reserved("HELD", "0", "0"), &["I5", "I6"]),
            (ordered(false, &[]), reserved("CAPTURED", "9", "0"), &["I5"]),
            (ordered(false, &[]), given_back("10", "10"), &["I5"]),
            (ordered(true, &[]), reserved("CAPTURED", "10", "0"), &["I5"]),
            (ordered(true, &[]), given_back("10", "6"), &["I5"]),
            (ordered(false, &["CAPTURE"]), reserved("RELEASED", "0", "0"), &["I11"]),
            (ordered(false, &[]), reserved("DECLINED", "0", "0"), &["I11"]),
            (ordered(true, &[]), reserved("DECLINED", "0", "0"), &["I11"]),
            (Orders::default(), reserved("HELD", "0", "0"), &["I6"]),
            (Orders::default(), reserved("CAPTURED", "10", "0"), &["I6"]),
        ] {
            assert_eq!(broken(&orders, &reservations), invariants, "{orders:?} {reservations:?}");
        }
    }

    #[test]
    fn a_row_that_waits_in_vain_or_too_long_excuses_nothing() {
        let late = WAIT_SECONDS_MAX + 1;
        for (orders, reservations, invariants) in [
            (
                waiting_since(false, &["CAPTURE"], 0, true),
                reserved("HELD", "0", "0"),
                &["I5", "I5", "I6"][..],
            ),
            (
                waiting_since(false, &["CAPTURE"], late, false),
                reserved("HELD", "0", "0"),
                &["I5", "I5", "I6"],
            ),
            (
                waiting_since(true, &["REFUND"], 0, true),
                reserved("CAPTURED", "10", "4"),
                &["I5", "I5"],
            ),
            (
                waiting_since(true, &["REFUND"], late, false),
                reserved("CAPTURED", "10", "4"),
                &["I5", "I5"],
            ),
            // Though the money is where it should be.
            (waiting_since(true, &["REFUND"], 0, true), reserved("CAPTURED", "10", "10"), &["I5"]),
        ] {
            assert_eq!(broken(&orders, &reservations), invariants, "{orders:?} {reservations:?}");
        }
    }

    #[test]
    fn a_resolved_settlement_excuses_its_own_difference_and_no_other() {
        for (orders, reservations, invariants) in [
            (resolved(false, "CAPTURE"), HashMap::new(), &[][..]),
            (resolved(false, "CAPTURE"), reserved("RELEASED", "0", "0"), &[]),
            (resolved(false, "CAPTURE"), reserved("CAPTURED", "6", "0"), &[]),
            (resolved(false, "CAPTURE"), reserved("HELD", "0", "0"), &["I5", "I6"]),
            (resolved(false, "CAPTURE"), given_back("10", "10"), &["I5"]),
            (resolved(false, "REFUND"), reserved("RELEASED", "0", "0"), &["I11"]),
            (resolved(true, "REFUND"), reserved("CAPTURED", "10", "4"), &[]),
            (resolved(true, "CAPTURE"), reserved("CAPTURED", "10", "4"), &["I5"]),
            (
                Orders { placed: HashMap::new(), ..resolved(false, "RELEASE") },
                reserved("CAPTURED", "10", "0"),
                &[],
            ),
            (
                Orders { placed: HashMap::new(), ..resolved(false, "CAPTURE") },
                reserved("CAPTURED", "10", "0"),
                &["I6"],
            ),
        ] {
            assert_eq!(broken(&orders, &reservations), invariants, "{orders:?} {reservations:?}");
        }
    }
}
