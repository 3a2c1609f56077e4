//! What readers are told: an order that its caller was told of is there for everybody who asks, and so is its payment.

use super::{Breach, Case, Rule, breach};
use crate::chaos::history::Call;

const NOT_FOUND: [&str; 3] = ["ORDER_NOT_FOUND", "PAYMENT_NOT_FOUND", "PRODUCT_NOT_FOUND"];

/// Nobody reads between the loss of orders and their callers' asking again.
pub(super) fn check(case: Case<'_>) -> Vec<Breach> {
    let unseen = case.history.iter().filter(|operation| {
        let is_missing = operation.answer.reason().is_some_and(|why| NOT_FOUND.contains(&why));
        matches!(operation.call, Call::Read(_)) && is_missing
    });
    unseen.map(|o| breach(Rule::FoundByAll, "what is there was not found", [o])).collect()
}
