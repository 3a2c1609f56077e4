//! The judge: what clients were told against what stands in the databases. Pure.
//!
//! A rule takes a [`Case`] and answers breaches, each with the operations that show it and no others: all of one key, one
//! reservation, one account. Times count only where a rule says so: an answer that came before a call was sent binds
//! that call's answer; calls that overlap may be told either.

mod keys;
mod money;
mod reads;
mod reservations;

use std::collections::BTreeMap;

use serde::Serialize;

use super::history::{Answer, Body, Call, Operation};
use super::state::{Opening, State};

/// Operations that a breach shows at most.
const SHOWN: usize = 40;

/// All there is to judge.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was there at first.
    pub opening: &'a Opening,
    /// What clients did.
    pub history: &'a [Operation],
    /// What is there at the end.
    pub state: &'a State,
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which.
    pub rule: Rule,
    /// What is wrong.
    pub why: String,
    /// The operations that show it.
    pub history: Vec<String>,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Rule {
    /// I8: an order that anybody was told of is there, and as it was told.
    AcknowledgedSurvives,
    /// I3: one key, one order.
    OneOrderAKey,
    /// I4: all who were told of an order by one key were told of the same.
    AnswersAgree,
    /// A key that was refused (E303, E306) makes no order before its lifetime is over.
    RefusalIsFinal,
    /// I12: a request told that its key is another's (E305) ran nothing.
    ReusedRunsNothing,
    /// An order costs what its request says.
    OrderIsAsAsked,
    /// A cancel that was acknowledged stands.
    CancelSurvives,
    /// I11: a reserve_id that was declined is never accepted.
    DeclineIsFinal,
    /// A release that was acknowledged ends its reserve_id for good.
    ReleaseIsFinal,
    /// A deposit that was acknowledged is there; one that is there was asked for, once, with its amount.
    DepositsAgree,
    /// A refund that was acknowledged is there, with its amount.
    RefundsAgree,
    /// What is there is found by everybody who asks for it, however many ask at once.
    FoundByAll,
    /// No defect was answered: no status that the contract does not have.
    NoDefect,
    /// At rest: no key undecided, no outbox row.
    NothingLeft,
    /// I6: what is held, somebody asked for and nobody released.
    NothingHeldForNothing,
    /// I1 and I2, account by account: the balance is what orders and deposits make of it.
    MoneyAddsUp,
    /// What `verify` of both services and of the two together says.
    BooksAreSound,
    /// I7: the stock is what orders left of it.
    StockAddsUp,
}

impl Case<'_> {
    /// Whether what was answered may have been lost with the database of orders.
    fn is_lost(&self, operation: &Operation) -> bool {
        self.state.restored.is_some_and(|(copied, restored)| {
            copied <= operation.answered_us && operation.sent_us < restored
        })
    }

    /// Whether a cancel found no order because that was lost, and given back before it was asked for again.
    fn may_be_lost(&self, operation: &Operation) -> bool {
        let is_after = self.state.restored.is_some_and(|(_, end)| end <= operation.sent_us);
        let is_cancel = matches!(operation.call, Call::Cancel { .. });
        is_after && is_cancel && operation.answer.reason() == Some("ORDER_NOT_FOUND")
    }

    /// Whether money of an order was given back.
    fn is_given_back(&self, account: i64, order_id: &str) -> bool {
        self.state.refunds.keys().any(|(whose, order, _)| *whose == account && order == order_id)
    }
}

/// Judges.
#[must_use]
pub fn check(case: Case<'_>) -> Vec<Breach> {
    let rules: [fn(Case<'_>) -> Vec<Breach>; 8] = [
        keys::check,
        reservations::check,
        money::deposits,
        money::refunds,
        reads::check,
        money::adds_up,
        no_defect,
        nothing_left,
    ];
    let mut breaches: Vec<_> = rules.into_iter().flat_map(|rule| rule(case)).collect();
    breaches.sort_by_key(|breach| (breach.history.len(), breach.rule));
    breaches
}

fn breach<'a>(
    rule: Rule,
    why: impl Into<String>,
    shown: impl IntoIterator<Item = &'a Operation>,
) -> Breach {
    let history = shown.into_iter().take(SHOWN).map(ToString::to_string).collect();
    Breach { rule, why: why.into(), history }
}

/// INTERNAL, UNKNOWN with a reason of ours and refusals that no such call can get.
fn no_defect(case: Case<'_>) -> Vec<Breach> {
    let defects = case.history.iter().filter(|operation| match &operation.answer {
        Answer::Refused { reason, .. } => {
            !may_refuse(&operation.call, reason) && !case.may_be_lost(operation)
        }
        Answer::Placed { .. } | Answer::Done | Answer::Unknown(_) => false,
    });
    defects
        .map(|o| breach(Rule::NoDefect, "an answer that the contract does not have", [o]))
        .collect()
}

fn may_refuse(call: &Call, reason: &str) -> bool {
    let known: &[&str] = match call {
        Call::Place { reject: true, .. } => &[
            "DUPLICATE_PAYMENT_REQUEST",
            "PAYMENT_ALREADY_PROCESSED",
            "PAYMENT_FAILED",
            "IDEMPOTENCY_KEY_REUSED",
            "OUT_OF_STOCK",
        ],
        // A REPLAY is the request that the key stands for: it is never refused as a duplicate.
        Call::Place { reject: false, .. } => {
            &["PAYMENT_FAILED", "IDEMPOTENCY_KEY_REUSED", "OUT_OF_STOCK"]
        }
        // Two clients may reserve one id for different amounts.
        Call::Reserve { .. } => {
            &["INSUFFICIENT_FUNDS", "RESERVATION_RELEASED", "RESERVATION_MISMATCH"]
        }
        // A capture may not have been told yet; others may have given the money back, and so does a cancel.
        Call::Refund { .. } => &["RESERVATION_NOT_CAPTURED", "REFUND_EXCEEDS_CAPTURE"],
        // Judged by the rule about reads.
        Call::Read(_) => &["ORDER_NOT_FOUND", "PAYMENT_NOT_FOUND", "PRODUCT_NOT_FOUND"],
        Call::Cancel { .. } | Call::Release { .. } | Call::Deposit { .. } => &[],
    };
    known.contains(&reason)
}

fn nothing_left(case: Case<'_>) -> Vec<Breach> {
    let State { undecided, waiting, .. } = case.state;
    let keys = undecided.iter().map(|(account, key)| {
        let shown = case.history.iter().filter(|o| is_of_key(o, *account, key));
        breach(Rule::NothingLeft, format!("key {key} of {account} is undecided"), shown)
    });
    let rows = waiting.iter().map(|(account, order, action)| {
        let why = format!("{action} of order {order} of {account} waits in the outbox");
        breach(Rule::NothingLeft, why, [])
    });
    keys.chain(rows).collect()
}

fn is_of_key(operation: &Operation, wanted: i64, name: &str) -> bool {
    matches!(&operation.call, Call::Place { account, key, .. } if *account == wanted && key == name)
}

/// Operations by what they are about, in their order.
fn grouped<'a, K: Ord>(
    history: &'a [Operation],
    about: impl Fn(&'a Call) -> Option<K>,
) -> BTreeMap<K, Vec<&'a Operation>> {
    let mut groups = BTreeMap::<K, Vec<_>>::new();
    for operation in history {
        if let Some(key) = about(&operation.call) {
            groups.entry(key).or_default().push(operation);
        }
    }
    groups
}

/// What a body costs.
fn price(opening: &Opening, body: Body) -> Option<i64> {
    match body {
        Body::Amount(units) => Some(units),
        Body::Pieces(product, pieces) => {
            opening.products.get(&product).map(|(price, _)| price * pieces)
        }
    }
}

#[cfg(test)]
mod tests;
