//! The fate of orders whose reservation was answered: pure.
//!
//! The storage checks the fences, locks the stock and asks [`decide`]; what it answers is written as it is.

use std::collections::{HashMap, HashSet};

use proto::id::{AccountId, IdempotencyKey, ProductId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Action, Notice, Order,
    key::{Claim, Decided, GAVE_UP, Outcome, REFUNDED},
    request::Request,
};

/// What the account service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The money is held.
    Reserved,
    /// It never will be.
    Declined {
        /// The account service's reason.
        cause: String,
    },
    /// It could not be asked for so long that nobody waits any more. Perhaps the money is held.
    GaveUp,
}

/// A claim whose reservation was answered.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The right to decide.
    pub claim: Claim,
    /// What the account service said.
    pub verdict: Verdict,
    /// The id that the payment gets if there is one.
    pub payment_id: Uuid,
}

/// What becomes of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A new order.
    Placed(Order),
    /// Refused, for the lifetime of the key.
    Failed(Outcome),
    /// The key made this order before, and its row was dropped since: the row becomes what it was.
    Restored(Order),
}

/// What a worker is told of its settlement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// What was decided now. `None`: somebody else's decision stands, read the key.
    pub decided: Option<Decided>,
    /// The outbox row that was written with it, leased to this process.
    pub notice: Option<Notice>,
}

/// Settlements whose fences held, in their order, with what was decided of each.
pub type Pairs<'a> = [(&'a Settlement, &'a Decision)];

/// Pieces in stock, by product.
pub type Stock = HashMap<ProductId, i64>;

/// Orders that exist already, by the key that made them.
pub type Earlier = HashMap<(AccountId, IdempotencyKey), Order>;

impl Settlement {
    /// What the key says unless stock runs out or an earlier order turns up. It is written first, with the fence
    /// check, so that a worker without the right to decide stops before it touches anything else.
    pub fn expected(&self) -> Outcome {
        match &self.verdict {
            Verdict::Reserved => Outcome::Placed { payment_id: self.payment_id },
            Verdict::Declined { cause } => Outcome::Declined { cause: cause.clone() },
            Verdict::GaveUp => Outcome::Declined { cause: GAVE_UP.into() },
        }
    }
}

/// Of settlements of one claim, the first: it decides, and the others find its decision.
pub fn firsts(settlements: &[Settlement]) -> Vec<&Settlement> {
    let mut seen = HashSet::new();
    let name = |claim: &Claim| (claim.order_id, claim.home, claim.fence);
    settlements.iter().filter(|settlement| seen.insert(name(&settlement.claim))).collect()
}

/// Which of the decisions say no to a request whose key may have made an order before: one that has a row of its own. Before
/// they are written,
/// earlier orders of these keys must be looked for and all be decided again: a key that made an order never fails.
pub fn doubtful<'a>(
    settlements: impl IntoIterator<Item = &'a Settlement>,
    decisions: &[Decision],
) -> Vec<&'a Request> {
    let failed = |(settlement, decision): (&'a Settlement, &Decision)| match decision {
        Decision::Failed(_) if settlement.claim.batch().is_none() => {
            Some(&*settlement.claim.request)
        }
        Decision::Failed(_) | Decision::Placed(_) | Decision::Restored(_) => None,
    };
    settlements.into_iter().zip(decisions).filter_map(failed).collect()
}

/// Decides settlements, one after the other, whose fences held. Takes what they sell out of `stock`.
///
/// All products of the baskets must be in `stock`; one that is not counts as sold out. An order that is placed here is an
/// earlier order for the settlements of its key that follow.
pub fn decide<'a>(
    settlements: impl IntoIterator<Item = &'a Settlement>,
    stock: &mut Stock,
    earlier: &Earlier,
    now: OffsetDateTime,
) -> Vec<Decision> {
    let mut placed = HashMap::new();
    let mut decisions = Vec::new();
    for settlement in settlements {
        let Request { account, key, .. } = &*settlement.claim.request;
        let here = placed.get(&(account, key)).and_then(|at| order_of(&decisions, *at));
        let before = here.or_else(|| earlier.get(&(*account, key.clone())));
        let decision = decide_one(settlement, stock, before, now);
        if let Decision::Placed(_) = decision {
            placed.insert((account, key), decisions.len());
        }
        decisions.push(decision);
    }
    decisions
}

fn order_of(decisions: &[Decision], at: usize) -> Option<&Order> {
    match decisions.get(at)? {
        Decision::Placed(order) | Decision::Restored(order) => Some(order),
        Decision::Failed(_) => None,
    }
}

fn decide_one(
    settlement: &Settlement,
    stock: &mut Stock,
    before: Option<&Order>,
    now: OffsetDateTime,
) -> Decision {
    if let Some(order) = before {
        return Decision::Restored(order.clone());
    }
    if settlement.verdict != Verdict::Reserved {
        return Decision::Failed(settlement.expected());
    }
    let lines = settlement.claim.request.basket.lines();
    let left = |product| stock.get(&product).copied().unwrap_or_default();
    if let Some(short) = lines.iter().find(|line| left(line.product_id) < line.quantity) {
        return Decision::Failed(Outcome::OutOfStock { product_id: short.product_id });
    }
    for line in lines {
        stock.entry(line.product_id).and_modify(|left| *left -= line.quantity);
    }
    let Settlement { claim, payment_id, .. } = settlement;
    Decision::Placed(claim.order(*payment_id, claim.placed_at(now)))
}

/// The new orders among what was decided.
pub fn placed<'a>(decided: &Pairs<'a>) -> Vec<&'a Order> {
    let placed = decided.iter().filter_map(|(_, decision)| match decision {
        Decision::Placed(order) => Some(order),
        Decision::Failed(_) | Decision::Restored(_) => None,
    });
    placed.collect()
}

/// The claims whose keys say something else by now than what came of them.
pub fn unexpected<'a>(decided: &Pairs<'a>) -> Vec<(&'a Claim, &'a Outcome)> {
    let failed = decided.iter().filter_map(|(settlement, decision)| match decision {
        Decision::Failed(outcome) if *outcome != settlement.expected() => {
            Some((&settlement.claim, outcome))
        }
        Decision::Failed(_) | Decision::Placed(_) | Decision::Restored(_) => None,
    });
    failed.collect()
}

/// What the workers are told of what was decided at this time: one answer a settlement, in their order. What was decided
/// is in that order too, with settlements missing whose fences did not hold: those find theirs elsewhere.
pub fn answers(
    settlements: &[Settlement],
    decided: &Pairs<'_>,
    at: OffsetDateTime,
) -> Vec<Settled> {
    let mut decided = decided.iter().peekable();
    let answer = |settlement: &Settlement| {
        let decision = decided.next_if(|(holder, _)| std::ptr::eq(*holder, settlement));
        decision.map(|(_, decision)| Settled::of(settlement, decision, at)).unwrap_or_default()
    };
    settlements.iter().map(answer).collect()
}

impl Settled {
    /// What the worker is told of a decision that was made at this time.
    pub fn of(settlement: &Settlement, decision: &Decision, at: OffsetDateTime) -> Self {
        let outcome = match decision {
            Decision::Placed(_) => Some(settlement.expected()),
            Decision::Failed(outcome) => Some(outcome.clone()),
            Decision::Restored(_) => None,
        };
        let at = settlement.claim.placed_at(at);
        let decided = outcome.map(|outcome| Decided { outcome, at });
        Self { decided, notice: notice(settlement, decision) }
    }
}

/// What the account service must be told after a decision.
fn notice(settlement: &Settlement, decision: &Decision) -> Option<Notice> {
    let action = match (decision, &settlement.verdict) {
        (Decision::Placed(_), _) => Action::Capture,
        // A refused reservation holds nothing, but for one of which a part was given back before.
        (_, Verdict::Declined { cause }) if cause != REFUNDED => return None,
        // The order that lives is this claim's own: its money is not to be given back.
        (Decision::Restored(order), _) if order.order_id == settlement.claim.order_id => {
            return None;
        }
        // Also where the money was captured for an order that was lost since: a release then gives back what is left.
        (Decision::Failed(_) | Decision::Restored(_), _) => Action::Release,
    };
    let Claim { request, order_id, amount, .. } = &settlement.claim;
    let (account, order_id, amount) = (request.account, *order_id, *amount);
    Some(Notice { account, order_id, action, amount, batch: None })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use proto::{Currency, Money};

    use super::*;
    use crate::order::{
        key::Home,
        request::{Basket, Line},
    };

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn product(id: i64) -> ProductId {
        ProductId::new(id).unwrap()
    }

    fn settlement(key: &str, lines: &[(i64, i64)], verdict: Verdict) -> Settlement {
        let line =
            |(id, quantity): &(i64, i64)| Line { product_id: product(*id), quantity: *quantity };
        let request = Request {
            account: AccountId::new(1).unwrap(),
            key: IdempotencyKey::new(key).unwrap(),
            basket: Basket::of_lines(lines.iter().map(line).collect()),
            currency: None,
        };
        let claim = Claim {
            request: Arc::new(request),
            order_id: Uuid::from_u128(7),
            amount: Money::parse("5").unwrap(),
            currency: Currency::USD,
            fence: 1,
            home: Home::Keys(NOW.date()),
        };
        Settlement { claim, verdict, payment_id: Uuid::from_u128(8) }
    }

    #[test]
    fn an_order_takes_all_its_lines_or_none() {
        let wants = settlement("k", &[(1, 2), (2, 2)], Verdict::Reserved);
        let mut stock = Stock::from([(product(1), 5), (product(2), 1)]);
        let decided = decide([&wants], &mut stock, &Earlier::new(), NOW);
        assert_eq!(decided, [Decision::Failed(Outcome::OutOfStock { product_id: product(2) })]);
        assert_eq!(stock, Stock::from([(product(1), 5), (product(2), 1)]));
        assert_eq!(notice(&wants, &decided[0]).map(|n| n.action), Some(Action::Release));
    }

    #[test]
    fn a_declined_reservation_needs_no_release() {
        let declined =
            settlement("k", &[], Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() });
        let decided = decide([&declined], &mut Stock::new(), &Earlier::new(), NOW);
        assert_eq!(notice(&declined, &decided[0]), None);
    }

    #[test]
    fn giving_up_leaves_a_release_in_case_the_money_is_held() {
        let gave_up = settlement("k", &[], Verdict::GaveUp);
        let decided = decide([&gave_up], &mut Stock::new(), &Earlier::new(), NOW);
        assert_eq!(decided, [Decision::Failed(Outcome::Declined { cause: GAVE_UP.into() })]);
        assert_eq!(notice(&gave_up, &decided[0]).map(|n| n.action), Some(Action::Release));
    }

    #[test]
    fn bug_10_a_key_dropped_while_its_order_lives_makes_no_second_order() {
        let again = settlement("k", &[(1, 1)], Verdict::Reserved);
        let first =
            Order { order_id: Uuid::from_u128(6), ..again.claim.order(Uuid::from_u128(1), NOW) };
        let request = &again.claim.request;
        let earlier = Earlier::from([((request.account, request.key.clone()), first.clone())]);
        let mut stock = Stock::from([(product(1), 1)]);
        let decided = decide([&again], &mut stock, &earlier, NOW);
        assert_eq!(decided, [Decision::Restored(first)]);
        assert_eq!(stock[&product(1)], 1);
        assert_eq!(notice(&again, &decided[0]).map(|n| n.action), Some(Action::Release));
    }

    #[test]
    fn of_two_claims_of_one_key_in_a_batch_the_first_to_place_an_order_has_it() {
        let declined = Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() };
        let verdicts = [declined, Verdict::Reserved, Verdict::Reserved, Verdict::GaveUp];
        let claims = verdicts.into_iter().zip(1..).map(|(verdict, id)| {
            let mut settlement = settlement("k", &[(1, 1)], verdict);
            settlement.claim.order_id = Uuid::from_u128(id);
            settlement
        });
        let batch: Vec<_> = claims.collect();
        let mut stock = Stock::from([(product(1), 5)]);
        let decided = decide(&batch, &mut stock, &Earlier::new(), NOW);
        let [Decision::Failed(_), Decision::Placed(order), third, fourth] = &decided[..] else {
            panic!("{decided:?}")
        };
        assert_eq!([third, fourth], [&Decision::Restored(order.clone()); 2]);
        assert_eq!(stock[&product(1)], 4);
        assert_eq!(notice(&batch[2], third).map(|n| n.action), Some(Action::Release));
    }

    #[test]
    fn a_settlement_that_comes_twice_decides_once() {
        let one = settlement("k", &[], Verdict::Reserved);
        let mut next = one.clone();
        next.claim.fence += 1;
        let batch = [one.clone(), Settlement { verdict: Verdict::GaveUp, ..one.clone() }, next];
        let firsts = firsts(&batch);
        assert!(std::ptr::eq(firsts[0], &batch[0]) && std::ptr::eq(firsts[1], &batch[2]));
        assert_eq!(firsts.len(), 2);
    }

    proptest! {
        #[test]
        fn no_batch_sells_more_than_there_is(
            stock in prop::collection::vec(0..20_i64, 3),
            baskets in prop::collection::vec(prop::collection::btree_map(1..=3_i64, 1..8_i64, 0..3), 0..30),
        ) {
            let before: Stock = (1..).map(product).zip(stock).collect();
            let settlements: Vec<_> = baskets
                .iter()
                .enumerate()
                .map(|(n, lines)| {
                    let lines: Vec<_> = lines.iter().map(|(id, quantity)| (*id, *quantity)).collect();
                    settlement(&format!("k{n}"), &lines, Verdict::Reserved)
                })
                .collect();
            let mut after = before.clone();
            let decided = decide(&settlements, &mut after, &Earlier::new(), NOW);
            let mut sold = Stock::new();
            for decision in &decided {
                if let Decision::Placed(order) = decision {
                    for line in order.basket.lines() {
                        *sold.entry(line.product_id).or_default() += line.quantity;
                    }
                }
            }
            for (product, pieces) in &before {
                prop_assert!(after[product] >= 0);
                prop_assert_eq!(after[product] + sold.get(product).unwrap_or(&0), *pieces);
            }
        }
    }
}
