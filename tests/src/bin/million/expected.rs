//! What must stand in the books: a pure function of the requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use ::tests::chaos::state::{Account, State};
use ::tests::load::Mix;
use proto::Money;
use proto::order::v1::PlaceOrderRequest;
use uuid::Uuid;

/// What a request was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) order_id: Uuid,
    pub(crate) payment_id: Uuid,
}

/// All requests' originals, and what they come to.
pub(crate) struct Expected {
    /// For each request, the number of the one that it repeats.
    originals: Vec<usize>,
    /// By account and key: the request's number, and what it costs in units of 10^-4.
    orders: HashMap<(i64, String), (usize, i64)>,
    spent: BTreeMap<i64, i64>,
    sold: BTreeMap<i64, i64>,
}

/// What a piece costs: no two products alike.
pub(crate) fn price(product: i64) -> Money {
    Money::from_units(10_000 * (product % 90 + 1) + product).expect("a small amount")
}

impl Expected {
    /// As many requests as it takes for so many distinct ones.
    pub(crate) fn of(mix: &Mix, orders: u64) -> Self {
        let (originals, distinct, spent, sold) = Default::default();
        let mut expected = Self { originals, orders: distinct, spent, sold };
        for number in 0.. {
            let index = |number: u64| usize::try_from(number).expect("fewer than memory has bytes");
            if expected.orders.len() == index(orders) {
                break;
            }
            let original = mix.original(number);
            expected.originals.push(index(original));
            if original == number {
                expected.add(index(number), mix.order(number));
            }
        }
        expected
    }

    fn add(&mut self, number: usize, request: PlaceOrderRequest) {
        let mut cost = 0;
        for line in &request.lines {
            cost += price(line.product_id).units() * line.quantity;
            *self.sold.entry(line.product_id).or_default() += line.quantity;
        }
        *self.spent.entry(request.account_id).or_default() += cost;
        self.orders.insert((request.account_id, request.idempotency_key), (number, cost));
    }

    pub(crate) fn requests(&self) -> u64 {
        self.originals.len() as u64
    }

    /// What is not as it should be: of answers, orders, payments, balances and stock.
    pub(crate) fn hold_against(
        &self,
        answers: &[OnceLock<Answer>],
        state: &State,
        balance: u64,
        stock: i64,
    ) -> Vec<String> {
        let mut wrong = self.answers_agree(answers);
        wrong.extend(self.orders_are(answers, state));
        let opening = i64::try_from(balance).unwrap_or(i64::MAX) * 10_000;
        for (account, left) in &state.accounts {
            let spent = self.spent.get(account).copied().unwrap_or_default();
            let expected = Account { balance: opening - spent, reserved: 0 };
            if *left != expected {
                wrong.push(format!("account {account} has {left:?}, not {expected:?}"));
            }
        }
        for (product, left) in &state.stock {
            let sold = self.sold.get(product).copied().unwrap_or_default();
            if *left != stock - sold {
                wrong.push(format!("{left} of product {product} are left, not {}", stock - sold));
            }
        }
        if !state.undecided.is_empty() || !state.waiting.is_empty() {
            let (keys, rows) = (state.undecided.len(), state.waiting.len());
            wrong.push(format!("{keys} keys are undecided, {rows} outbox rows wait"));
        }
        wrong
    }

    fn answers_agree(&self, answers: &[OnceLock<Answer>]) -> Vec<String> {
        let of = |number: usize| answers.get(number).and_then(OnceLock::get);
        let differs = |(number, original): (usize, &usize)| {
            let (told, first) = (of(number), of(*original));
            (told.is_none() || told != first)
                .then(|| format!("request {number} was told {told:?}, {original} {first:?}"))
        };
        self.originals.iter().enumerate().filter_map(differs).collect()
    }

    fn orders_are(&self, answers: &[OnceLock<Answer>], state: &State) -> Vec<String> {
        let mut wrong = Vec::new();
        for order in &state.orders {
            let Some((number, cost)) = self.orders.get(&(order.account, order.key.clone())) else {
                wrong.push(format!("nobody asked for {order:?}"));
                continue;
            };
            let payment = state.payments.get(&order.order_id);
            let told = answers.get(*number).and_then(OnceLock::get);
            let as_told = told.is_some_and(|told| {
                told.order_id.to_string() == order.order_id
                    && Some(&told.payment_id.to_string()) == payment
            });
            if !as_told || order.units != *cost || order.cancelled {
                wrong.push(format!("{order:?} paid by {payment:?} costs {cost}, told {told:?}"));
            }
        }
        // All are among those asked for; so if there are as many, and no two by one key, they are the same.
        let found = (state.orders.len(), state.payments.len());
        if found != (self.orders.len(), self.orders.len()) {
            let expected = self.orders.len();
            wrong.push(format!("{found:?} orders and payments, {expected} were asked for"));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use ::tests::chaos::state::Order;
    use ::tests::load::{Accounts, Products};
    use proto::order::v1::OnDuplicate;

    use super::*;

    const BALANCE: u64 = 1_000;
    const STOCK: i64 = 100;

    fn sound() -> (Expected, Vec<OnceLock<Answer>>, State) {
        let mix = Mix {
            seed: 3,
            run: "r".to_owned(),
            accounts: Accounts { count: 3, zipf: 0.0 },
            products: Products::Lines { lines: 2, count: 4 },
            duplicates: 0.3,
            on_duplicate: OnDuplicate::Replay,
        };
        let expected = Expected::of(&mix, 20);
        assert!(expected.requests() > 20, "there are duplicates");
        let id = |number: usize| Uuid::from_u128(number as u128 + 1);
        let told = |number: &usize| Answer { order_id: id(*number), payment_id: id(*number + 100) };
        let answers = expected.originals.iter().map(told).map(OnceLock::from).collect();
        let mut state = State::default();
        for ((account, key), (number, units)) in &expected.orders {
            let (order_id, key) = (id(*number).to_string(), key.clone());
            state.payments.insert(order_id.clone(), id(*number + 100).to_string());
            let (account, units, cancelled) = (*account, *units, false);
            state.orders.push(Order { account, key, order_id, units, cancelled });
        }
        for account in 1..=3 {
            let spent = expected.spent.get(&account).copied().unwrap_or_default();
            state.accounts.insert(account, Account { balance: 10_000_000 - spent, reserved: 0 });
        }
        for product in 1..=4 {
            let sold = expected.sold.get(&product).copied().unwrap_or_default();
            state.stock.insert(product, STOCK - sold);
        }
        (expected, answers, state)
    }

    #[test]
    fn what_was_asked_for_is_right_and_nothing_else() {
        let (expected, answers, state) = sound();
        let wrong = |answers: &[_], state: &State| {
            expected.hold_against(answers, state, BALANCE, STOCK).len()
        };
        assert_eq!(wrong(&answers, &state), 0);
        let changes: [fn(&mut State); 8] = [
            |state| drop(state.orders.pop()),
            |state| state.orders.push(state.orders[0].clone()),
            |state| state.orders[3].key.push('x'),
            |state| state.orders[3].units += 1,
            |state| drop(state.payments.pop_first()),
            |state| state.accounts.get_mut(&2).unwrap().balance += 1,
            |state| state.accounts.get_mut(&2).unwrap().reserved += 1,
            |state| *state.stock.get_mut(&4).unwrap() -= 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = state.clone();
            change(&mut other);
            assert!(wrong(&answers, &other) > 0, "change {number}");
        }
        let mut other = answers.clone();
        other[7] = OnceLock::new();
        assert!(wrong(&other, &state) > 0, "a request without an answer");
        let duplicate = (0..).zip(&expected.originals).find(|(n, original)| n != *original);
        let (number, _) = duplicate.unwrap();
        other = answers.clone();
        other[number] =
            OnceLock::from(Answer { payment_id: Uuid::nil(), ..*answers[0].get().unwrap() });
        assert!(wrong(&other, &state) > 0, "a duplicate that was told something else");
    }
}
