//! Sums: every account and every product, from what orders, deposits and reservations say.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Case, Rule, breach, grouped};
use crate::chaos::history::{Answer, Body, Call};

pub(super) fn deposits(case: Case<'_>) -> Vec<Breach> {
    let asked = grouped(case.history, |call| match call {
        Call::Deposit { account, deposit_id, .. } => Some((*account, deposit_id.clone())),
        Call::Place { .. }
        | Call::Cancel { .. }
        | Call::Reserve { .. }
        | Call::Release { .. }
        | Call::Refund { .. }
        | Call::Read(_) => None,
    });
    let names: BTreeSet<_> = asked.keys().chain(case.state.deposits.keys()).collect();
    let judge = |name: &(i64, String)| {
        let operations = asked.get(name).map(Vec::as_slice).unwrap_or_default();
        let stored = case.state.deposits.get(name);
        let acknowledged = operations.iter().any(|o| o.answer == Answer::Done);
        let amount = |units: i64| {
            operations
                .iter()
                .any(|o| matches!(&o.call, Call::Deposit { units: asked, .. } if *asked == units))
        };
        let sound = match stored {
            Some(units) => amount(*units),
            None => !acknowledged,
        };
        let why = format!("deposit {} of {} is {stored:?}", name.1, name.0);
        (!sound).then(|| breach(Rule::DepositsAgree, why, operations.iter().copied()))
    };
    names.into_iter().filter_map(judge).collect()
}

/// The services make refunds of their own, so one that nobody asked for is no breach by itself.
pub(super) fn refunds(case: Case<'_>) -> Vec<Breach> {
    let wrong = case.history.iter().filter_map(|operation| {
        let Call::Refund { account, order_id, refund_id, units } = &operation.call else {
            return None;
        };
        let stored = case.state.refunds.get(&(*account, order_id.clone(), refund_id.clone()));
        let lost = operation.answer == Answer::Done && stored.is_none();
        let differs = stored.is_some_and(|stored| stored != units);
        let why = format!("refund {refund_id} of order {order_id} is {stored:?}");
        (lost || differs).then(|| breach(Rule::RefundsAgree, why, [operation]))
    });
    wrong.collect()
}

pub(super) fn adds_up(case: Case<'_>) -> Vec<Breach> {
    balances(case).into_iter().chain(stock(case)).collect()
}

fn balances(case: Case<'_>) -> Vec<Breach> {
    let mut expected = case.opening.balances.clone();
    let mut add = |account: i64, units: i64| *expected.entry(account).or_default() += units;
    case.state.deposits.iter().for_each(|((account, _), units)| add(*account, *units));
    let live = case.state.orders.iter().filter(|order| !order.cancelled);
    let live: BTreeMap<_, _> =
        live.map(|order| ((order.account, &order.order_id), order.units)).collect();
    live.iter().for_each(|((account, _), units)| add(*account, -units));
    // Of an order that was cancelled, or is not there, all comes back in any case.
    for ((account, order_id, _), units) in &case.state.refunds {
        if live.contains_key(&(*account, order_id)) {
            add(*account, *units);
        }
    }
    let mut held = BTreeMap::<i64, i64>::new();
    for ((account, _), stored) in &case.state.reservations {
        if stored.state == "HELD" {
            *held.entry(*account).or_default() += stored.units;
        }
    }
    let wrong = expected.into_iter().filter_map(|(account, balance)| {
        let held = held.get(&account).copied().unwrap_or_default();
        let stands = case.state.accounts.get(&account).copied().unwrap_or_default();
        let why = format!("account {account} should have {balance} and hold {held}: {stands:?}");
        let sound = (stands.balance, stands.reserved) == (balance, held);
        (!sound).then(|| breach(Rule::MoneyAddsUp, why, []))
    });
    wrong.collect()
}

/// What was sold is read off the requests: an order's key names its body.
fn stock(case: Case<'_>) -> Vec<Breach> {
    let mut left: BTreeMap<_, _> =
        case.opening.products.iter().map(|(product, (_, stock))| (*product, *stock)).collect();
    let mut bodies = BTreeMap::new();
    for operation in case.history {
        if let Call::Place { account, key, body, .. } = &operation.call {
            let asked: &mut BTreeSet<Body> = bodies.entry((*account, key.as_str())).or_default();
            asked.insert(*body);
        }
    }
    for order in case.state.orders.iter().filter(|order| !order.cancelled) {
        let asked = bodies.get(&(order.account, order.key.as_str())).into_iter().flatten();
        let cost = |body: &&Body| super::price(case.opening, **body) == Some(order.units);
        if let Some(Body::Pieces(product, pieces)) =
            asked.copied().collect::<Vec<_>>().iter().find(cost)
        {
            *left.entry(*product).or_default() -= pieces;
        }
    }
    let wrong = left.into_iter().filter_map(|(product, expected)| {
        let stands = case.state.stock.get(&product).copied().unwrap_or_default();
        let why = format!("product {product} should have {expected} left, has {stands}");
        (stands != expected || stands < 0).then(|| breach(Rule::StockAddsUp, why, []))
    });
    wrong.collect()
}
