//! What is true of each key: its callers' answers and its order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Case, Rule, breach, grouped, price};
use crate::chaos::history::{Answer, Body, Call, Operation};
use crate::chaos::state::Order;

type Orders<'a> = BTreeMap<(i64, &'a str), Vec<&'a Order>>;

/// One key.
struct Key<'a> {
    account: i64,
    name: &'a str,
    operations: &'a [&'a Operation],
    orders: &'a [&'a Order],
    /// When a refusal of it was forgotten: from then on it had another life.
    forgotten: &'a [(u64, u64)],
    case: Case<'a>,
}

pub(super) fn check(case: Case<'_>) -> Vec<Breach> {
    let mut orders = Orders::new();
    for order in &case.state.orders {
        orders.entry((order.account, &order.key)).or_default().push(order);
    }
    let asked = grouped(case.history, |call| match call {
        Call::Place { account, key, .. } => Some((*account, key.as_str())),
        Call::Cancel { .. }
        | Call::Reserve { .. }
        | Call::Release { .. }
        | Call::Deposit { .. }
        | Call::Refund { .. }
        | Call::Read(_) => None,
    });
    let names: BTreeSet<_> = asked.keys().chain(orders.keys()).copied().collect();
    let mut breaches = cancels(case);
    for name in names {
        let operations = asked.get(&name).map(Vec::as_slice).unwrap_or_default();
        let orders = orders.get(&name).map(Vec::as_slice).unwrap_or_default();
        let forgotten = case.state.forgotten.get(&(name.0, name.1.to_owned()));
        let mut forgotten = forgotten.cloned().unwrap_or_default();
        forgotten.extend(lost_refusal(case, operations));
        let forgotten = forgotten.as_slice();
        let key = Key { account: name.0, name: name.1, operations, orders, forgotten, case };
        breaches.extend(key.check());
    }
    breaches
}

/// When a refusal was lost with the database of orders: only where it was not told before that was copied.
fn lost_refusal(case: Case<'_>, operations: &[&Operation]) -> Option<(u64, u64)> {
    let (copied, restored) = case.state.restored?;
    let refused = operations.iter().filter(|o| o.answer.reason().is_some());
    let first = refused.map(|o| o.answered_us).min()?;
    (first >= copied).then_some((copied, restored))
}

impl Key<'_> {
    fn check(&self) -> Vec<Breach> {
        let rules = [
            self.one_order(),
            self.answers_agree(),
            self.acknowledged_survives(),
            self.refusal_is_final(),
            self.reused_runs_nothing(),
            self.order_is_as_asked(),
        ];
        rules.into_iter().flatten().collect()
    }

    fn breach(&self, rule: Rule, why: &str) -> Option<Breach> {
        let why = format!("key {} of account {}: {why}", self.name, self.account);
        Some(breach(rule, why, self.operations.iter().copied()))
    }

    fn one_order(&self) -> Option<Breach> {
        let ids: Vec<_> = self.orders.iter().map(|order| &order.order_id).collect();
        if ids.len() < 2 {
            None
        } else {
            self.breach(Rule::OneOrderAKey, &format!("orders {ids:?}"))
        }
    }

    fn answers_agree(&self) -> Option<Breach> {
        let told: BTreeSet<_> =
            self.operations.iter().filter_map(|o| o.answer.order_id()).collect();
        let prices: BTreeSet<_> =
            self.operations.iter().filter_map(|o| Some(placed(o)?.units)).collect();
        // An order that was lost and asked for again has another payment.
        let payments = |lost: bool| -> BTreeSet<_> {
            let of_kind = self.operations.iter().filter(|o| self.case.is_lost(o) == lost);
            of_kind.filter_map(|o| Some(placed(o)?.payment_id)).collect()
        };
        let agree = [told.len(), prices.len(), payments(false).len(), payments(true).len()];
        let agree = agree.into_iter().all(|different| different < 2);
        if agree {
            None
        } else {
            self.breach(Rule::AnswersAgree, "callers were told different things")
        }
    }

    fn acknowledged_survives(&self) -> Option<Breach> {
        let is_there = |operation: &Operation| match &operation.answer {
            Answer::Placed { order_id, payment_id, units, .. } => {
                let order = self.orders.iter().find(|order| order.order_id == *order_id);
                order.is_some_and(|order| order.units == *units)
                    && (self.case.state.payments.get(order_id) == Some(payment_id)
                        || self.case.is_lost(operation))
            }
            Answer::Refused { .. } => operation
                .answer
                .order_id()
                .is_none_or(|told| self.orders.iter().any(|order| order.order_id == told)),
            Answer::Done | Answer::Unknown(_) => true,
        };
        let lost = self.operations.iter().any(|o| !is_there(o) && !self.may_stay_lost(o));
        if lost {
            self.breach(Rule::AcknowledgedSurvives, "an order that was told is not there")
        } else {
            None
        }
    }

    /// Whether an order that was lost is not placed again for good reasons: its money was given back before its caller
    /// asked again, or others were faster to take its stock.
    fn may_stay_lost(&self, told: &Operation) -> bool {
        let Some(order_id) = told.answer.order_id() else { return false };
        let sold_out = |o: &&Operation| {
            o.answer.reason() == Some("OUT_OF_STOCK") && o.sent_us > told.answered_us
        };
        self.case.is_lost(told)
            && self.orders.is_empty()
            && (self.case.is_given_back(self.account, order_id)
                || self.operations.iter().any(sold_out))
    }

    /// Whether one operation may have been answered in a life of the key that ended before the other's.
    fn may_precede(&self, one: &Operation, other: &Operation) -> bool {
        let is_between =
            |(began, ended): &(u64, u64)| one.sent_us < *ended && *began < other.answered_us;
        self.forgotten.iter().any(is_between)
    }

    /// Whether one operation was lost together with the end of an earlier life, so that the other met that life again.
    fn was_undone_before(&self, one: &Operation, other: &Operation) -> bool {
        let Some((copied, restored)) = self.case.state.restored else { return false };
        let is_undone = self.forgotten.iter().any(|(_, ended)| copied < *ended);
        is_undone && self.case.is_lost(one) && restored < other.answered_us
    }

    /// Whether two operations may belong to different lives of the key. A life with an order ends only by being lost.
    fn may_be_apart(&self, one: &Operation, other: &Operation) -> bool {
        let ends_before = |one: &Operation, other: &Operation| {
            one.answer.order_id().is_none() && self.may_precede(one, other)
                || self.was_undone_before(one, other)
        };
        ends_before(one, other) || ends_before(other, one)
    }

    /// Whether the life that an operation was answered in may have ended before that in which the order was placed.
    fn may_be_over(&self, one: &Operation) -> bool {
        self.forgotten.iter().any(|(_, ended)| one.sent_us < *ended)
    }

    fn refusal_is_final(&self) -> Option<Breach> {
        let is_final =
            |o: &&&Operation| matches!(o.answer.reason(), Some("PAYMENT_FAILED" | "OUT_OF_STOCK"));
        let refused: Vec<_> = self.operations.iter().filter(is_final).collect();
        let mut told = self
            .operations
            .iter()
            .filter(|o| o.answer.order_id().is_some() && !self.may_stay_lost(o));
        let contradicted = told.any(|told| refused.iter().any(|no| !self.may_precede(no, told)));
        let placed = !self.orders.is_empty() && refused.iter().any(|no| !self.may_be_over(no));
        let differs = |one: &Operation, other: &Operation| {
            one.answer != other.answer && !self.may_be_apart(one, other)
        };
        let differ = refused.iter().any(|one| refused.iter().any(|other| differs(one, other)));
        if contradicted || placed || differ {
            return self.breach(Rule::RefusalIsFinal, "was refused for good, and not always");
        }
        None
    }

    /// Which body owns the key is known by whom an answer other than E305 was given.
    fn reused_runs_nothing(&self) -> Option<Breach> {
        let telling = self.operations.iter().copied().filter(|o| match &o.answer {
            Answer::Placed { .. } | Answer::Refused { .. } => true,
            Answer::Done | Answer::Unknown(_) => false,
        });
        let is_reused = |o: &&Operation| o.answer.reason() == Some("IDEMPOTENCY_KEY_REUSED");
        let (reused, owners): (Vec<_>, Vec<_>) = telling.partition(is_reused);
        let clash = |one: &Operation, other: &Operation, equal: bool| {
            (body(one) == body(other)) == equal && !self.may_be_apart(one, other)
        };
        let two = owners.iter().any(|one| owners.iter().any(|other| clash(one, other, false)));
        let both = reused.iter().any(|one| owners.iter().any(|other| clash(one, other, true)));
        let costs = |o: &Operation| body(o).and_then(|body| price(self.case.opening, body));
        let is_placed = |units| self.orders.iter().any(|order| Some(order.units) == units);
        let placed = reused.iter().any(|o| is_placed(costs(o)) && !self.may_be_over(o));
        if two || both || placed {
            self.breach(Rule::ReusedRunsNothing, "two requests ran under one key")
        } else {
            None
        }
    }

    fn order_is_as_asked(&self) -> Option<Breach> {
        let asked: BTreeSet<_> = self
            .operations
            .iter()
            .filter_map(|operation| body(operation))
            .filter_map(|body| price(self.case.opening, body))
            .collect();
        let odd = self.orders.iter().any(|order| !asked.contains(&order.units));
        if odd {
            self.breach(Rule::OrderIsAsAsked, "an order that nobody asked for so")
        } else {
            None
        }
    }
}

/// What an answer says about an order.
struct Placed<'a> {
    payment_id: &'a str,
    units: i64,
}

fn placed<'a>(operation: &'a &Operation) -> Option<Placed<'a>> {
    match &operation.answer {
        Answer::Placed { payment_id, units, .. } => Some(Placed { payment_id, units: *units }),
        Answer::Done | Answer::Refused { .. } | Answer::Unknown(_) => None,
    }
}

fn body(operation: &Operation) -> Option<Body> {
    match &operation.call {
        Call::Place { body, .. } => Some(*body),
        Call::Cancel { .. }
        | Call::Reserve { .. }
        | Call::Release { .. }
        | Call::Deposit { .. }
        | Call::Refund { .. }
        | Call::Read(_) => None,
    }
}

fn cancels(case: Case<'_>) -> Vec<Breach> {
    let asked = grouped(case.history, |call| match call {
        Call::Cancel { account, order_id } => Some((*account, order_id.as_str())),
        Call::Place { .. }
        | Call::Reserve { .. }
        | Call::Release { .. }
        | Call::Deposit { .. }
        | Call::Refund { .. }
        | Call::Read(_) => None,
    });
    let cancelled: BTreeSet<_> = case
        .state
        .orders
        .iter()
        .filter(|order| order.cancelled)
        .map(|order| (order.account, order.order_id.as_str()))
        .collect();
    let there: BTreeSet<_> =
        case.state.orders.iter().map(|order| (order.account, order.order_id.as_str())).collect();
    let lost = asked.iter().filter(|(name, operations)| {
        // Together with its order a cancel may be lost; the rule about acknowledged orders judges that.
        let binds =
            |o: &Operation| o.answer == Answer::Done && (!case.is_lost(o) || there.contains(*name));
        operations.iter().any(|o| binds(o)) && !cancelled.contains(name)
    });
    let mut breaches: Vec<_> = lost
        .map(|(name, operations)| {
            let why = format!("order {} of {} is not cancelled", name.1, name.0);
            breach(Rule::CancelSurvives, why, operations.iter().copied())
        })
        .collect();
    let unasked = cancelled.iter().filter(|name| !asked.contains_key(name));
    breaches.extend(unasked.map(|(account, order)| {
        breach(Rule::CancelSurvives, format!("nobody cancelled order {order} of {account}"), [])
    }));
    breaches
}
