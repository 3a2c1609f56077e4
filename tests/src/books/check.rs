//! The invariants that need both sides: pure.

use std::collections::HashMap;

use proto::Money;
use serde::Serialize;

use super::read::{Name, Order, Orders, Reservation};

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
    let mut breaches: Vec<_> = paid.chain(held).collect();
    breaches.sort();
    breaches
}

fn unpaid(
    name: &Name,
    order: &Order,
    orders: &Orders,
    reservation: Option<&Reservation>,
) -> Option<Breach> {
    let waits_for = |action: &str| orders.waiting.contains(&(*name, action.to_owned()));
    let breach = |invariant, why: String| {
        let (account, order_id) = name;
        Some(Breach { invariant, row: format!("account {account} order {order_id}: {why}") })
    };
    let Some(Reservation { state, captured, refunded }) = reservation else {
        return breach("I5", "has no reservation".into());
    };
    match state.as_str() {
        "CAPTURED" => {}
        "HELD" if waits_for("CAPTURE") || waits_for("REFUND") => return None,
        "HELD" => return breach("I5", "is held, and no capture waits in the outbox".into()),
        final_state => {
            return breach("I11", format!("lives on a reservation that is {final_state}"));
        }
    }
    if *captured != order.amount {
        return breach("I5", format!("costs {}, captured {captured}", order.amount));
    }
    let returned = if order.cancelled { order.amount } else { Money::ZERO };
    let settled = *refunded == returned || order.cancelled && waits_for("REFUND");
    if settled { None } else { breach("I5", format!("owes {returned} back, refunded {refunded}")) }
}

fn unreasoned(name: &Name, reservation: &Reservation, orders: &Orders) -> Option<Breach> {
    let reason = orders.undecided.contains(name)
        || ["CAPTURE", "RELEASE", "REFUND"]
            .iter()
            .any(|action| orders.waiting.contains(&(*name, (*action).to_owned())));
    let (account, order_id) = name;
    // What was captured without an order is money taken for nothing.
    let row = match reservation.state.as_str() {
        "HELD" if !reason => {
            format!("account {account} reservation {order_id} is held for nothing")
        }
        "CAPTURED" if !orders.placed.contains_key(name) => {
            format!("account {account} reservation {order_id} was captured without an order")
        }
        _ => return None,
    };
    Some(Breach { invariant: "I6", row })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NAME: Name = (1, Uuid::from_u128(7));

    fn money(text: &str) -> Money {
        Money::parse_or_zero(text).unwrap()
    }

    fn reserved(state: &str, captured: &str, refunded: &str) -> HashMap<Name, Reservation> {
        let (captured, refunded) = (money(captured), money(refunded));
        HashMap::from([(NAME, Reservation { state: state.into(), captured, refunded })])
    }

    fn ordered(cancelled: bool, waiting: &[&str]) -> Orders {
        Orders {
            placed: HashMap::from([(NAME, Order { amount: money("10"), cancelled })]),
            waiting: waiting.iter().map(|action| (NAME, (*action).to_owned())).collect(),
            ..Orders::default()
        }
    }

    fn broken(orders: &Orders, reservations: &HashMap<Name, Reservation>) -> Vec<&'static str> {
        all(orders, reservations).into_iter().map(|breach| breach.invariant).collect()
    }

    #[test]
    fn what_is_sound_is_no_breach() {
        for (orders, reservations) in [
            (ordered(false, &[]), reserved("CAPTURED", "10", "0")),
            (ordered(false, &["CAPTURE"]), reserved("HELD", "0", "0")),
            (ordered(true, &[]), reserved("CAPTURED", "10", "10")),
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
            (ordered(false, &[]), reserved("CAPTURED", "10", "10"), &["I5"]),
            (ordered(true, &[]), reserved("CAPTURED", "10", "0"), &["I5"]),
            (ordered(false, &["CAPTURE"]), reserved("RELEASED", "0", "0"), &["I11"]),
            (ordered(false, &[]), reserved("DECLINED", "0", "0"), &["I11"]),
            (Orders::default(), reserved("HELD", "0", "0"), &["I6"]),
            (Orders::default(), reserved("CAPTURED", "10", "0"), &["I6"]),
        ] {
            assert_eq!(broken(&orders, &reservations), invariants, "{orders:?} {reservations:?}");
        }
    }
}
