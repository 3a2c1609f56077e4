//! Commands for tests: short to write by hand, and random ones from a world so small that ids collide all the time.

use account_service::ledger::{
    Capture, Command, OpenAccount, PostDeposit, PostRefund, Release, Reserve,
};
use proptest::prelude::*;
use proto::{
    Currency, Money,
    id::{AccountId, DepositId, OrderRef, RefundId, ReserveId},
};
use time::{Duration, OffsetDateTime};

/// The instant at which every history begins.
pub(crate) const START: OffsetDateTime = time::macros::datetime!(2026-03-01 12:00 UTC);

pub(crate) fn money(amount: &str) -> Money {
    Money::parse_or_zero(amount).unwrap()
}

pub(crate) fn account(id: i64) -> AccountId {
    AccountId::new(id).unwrap()
}

pub(crate) fn open(id: i64, opening: &str) -> Command {
    open_in(Currency::USD, id, money(opening))
}

pub(crate) fn open_in(currency: Currency, id: i64, opening_balance: Money) -> Command {
    let account_id = account(id);
    Command::Open(OpenAccount { account_id, currency, opening_balance })
}

pub(crate) fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

pub(crate) fn deposit(id: i64, deposit: &str, amount: &str) -> Command {
    let deposit_id = DepositId::new(deposit).unwrap();
    let (account_id, amount) = (account(id), money(amount));
    Command::Deposit(PostDeposit { account_id, deposit_id, amount, by: None })
}

/// A hold for the order `o-<reserve>`, for one minute.
pub(crate) fn reserve(id: i64, reserve: &str, amount: &str) -> Command {
    reserve_for(id, reserve, &format!("o-{reserve}"), amount, 60)
}

pub(crate) fn reserve_for(id: i64, reserve: &str, order: &str, amount: &str, ttl: i64) -> Command {
    Command::Reserve(hold(id, reserve, order, amount, ttl))
}

/// Names its currency, as the order service does.
pub(crate) fn reserve_in(code: &str, id: i64, reserve: &str, amount: &str) -> Command {
    let hold = hold(id, reserve, &format!("o-{reserve}"), amount, 60);
    Command::Reserve(Reserve { currency: Some(currency(code)), ..hold })
}

fn hold(id: i64, reserve: &str, order: &str, amount: &str, ttl: i64) -> Reserve {
    Reserve {
        account_id: account(id),
        reserve_id: ReserveId::new(reserve).unwrap(),
        order_id: OrderRef::new(order).unwrap(),
        amount: money(amount),
        currency: None,
        ttl: Duration::seconds(ttl),
    }
}

/// An empty amount captures all.
pub(crate) fn capture(id: i64, reserve: &str, amount: &str) -> Command {
    let amount = (!amount.is_empty()).then(|| money(amount));
    let reserve_id = ReserveId::new(reserve).unwrap();
    Command::Capture(Capture { account_id: account(id), reserve_id, amount })
}

pub(crate) fn release(id: i64, reserve: &str) -> Command {
    let reserve_id = ReserveId::new(reserve).unwrap();
    Command::Release(Release { account_id: account(id), reserve_id })
}

/// An empty amount refunds all that is left.
pub(crate) fn refund(id: i64, reserve: &str, refund: &str, amount: &str) -> Command {
    Command::Refund(PostRefund {
        account_id: account(id),
        reserve_id: ReserveId::new(reserve).unwrap(),
        refund_id: RefundId::new(refund).unwrap(),
        amount: (!amount.is_empty()).then(|| money(amount)),
        by: None,
    })
}

/// Batches of commands, each with the seconds that pass before it. Account 1 is opened first, account 2 perhaps.
pub(crate) fn history() -> impl Strategy<Value = Vec<(i64, Vec<Command>)>> {
    let batches = prop::collection::vec((0..4_i64, prop::collection::vec(command(), 1..9)), 1..14);
    (code(), batches).prop_map(|(code, mut batches)| {
        batches.insert(0, (0, vec![open_in(currency(code), 1, money("20"))]));
        batches
    })
}

/// With 0, 2, 3 and 4 decimal places.
fn code() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["KRW", "USD", "USD", "USD", "BHD", "XAU"])
}

fn command() -> impl Strategy<Value = Command> {
    let id = || 1..=2_i64;
    let name = || prop::sample::select(vec!["a", "b", "c", "d"]);
    // Small enough to be affordable, equal often enough to be replays.
    let amount = || prop::sample::select(vec!["1", "1", "2", "2", "2.5", "1.005", "7.0001", "11"]);
    // The last leaves no room for a deposit.
    let opening = || {
        let sums = ["0", "10", "10", "20", "1.005"].map(money);
        prop::sample::select([sums.as_slice(), &[Money::MAX_BALANCE]].concat())
    };
    let part = || prop::sample::select(vec!["", "", "1", "2", "0.5", "7.0001"]);
    prop_oneof![
        2 => (code(), id(), opening()).prop_map(|(code, id, sum)| open_in(currency(code), id, sum)),
        4 => (id(), prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]), amount())
            .prop_map(|(id, name, sum)| deposit(id, name, sum)),
        8 => (id(), name(), prop::sample::select(vec!["o", "p"]), amount(), 1..6_i64)
            .prop_map(|(id, name, order, sum, ttl)| reserve_for(id, name, order, sum, ttl)),
        2 => (code(), id(), name(), amount())
            .prop_map(|(code, id, name, sum)| {
                Command::Reserve(Reserve { currency: Some(currency(code)), ..hold(id, name, "o", sum, 5) })
            }),
        6 => (id(), name(), part()).prop_map(|(id, name, sum)| capture(id, name, sum)),
        2 => (id(), name()).prop_map(|(id, name)| release(id, name)),
        6 => (id(), name(), prop::sample::select(vec!["x", "y", "z"]), part())
            .prop_map(|(id, name, refunded, sum)| refund(id, name, refunded, sum)),
    ]
}
