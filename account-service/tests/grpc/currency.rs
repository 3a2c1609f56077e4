//! Currencies over the wire: reasons, codes, and the field that is named.

use database::Sqlite;
use proto::{
    Reason,
    account::v1::{self as api, command::Command},
};

use crate::{
    apply::apply,
    running::{Running, capture, deposit, names, open, reason, refund, reserve},
};

/// Calls with a finer amount than the currency has; the refusal must name this field.
macro_rules! too_fine {
    ($client:expr, $call:ident, $request:expr, $field:expr) => {
        let refused = $client.$call($request).await.unwrap_err();
        names(&refused, &[$field]);
        assert_eq!(reason(&refused), Reason::AmountPrecision);
    };
}

fn in_won(account_id: i64, opening_balance: &str) -> api::OpenAccountRequest {
    api::OpenAccountRequest { currency: "KRW".into(), ..open(account_id, opening_balance) }
}

#[tokio::test]
async fn a_finer_amount_than_the_currency_has_is_invalid_and_its_field_is_named() {
    let mut service = Running::<Sqlite>::fresh().await;
    let c = &mut service.client;
    too_fine!(c, open_account, in_won(1, "0.5"), "opening_balance");
    c.open_account(in_won(1, "1000")).await.unwrap();
    too_fine!(c, deposit, deposit(1, "d", "0.0001"), "amount");
    too_fine!(c, reserve, reserve(1, "fine", "0.0001"), "amount");
    too_fine!(c, reserve, reserve(1, "fine", "0.0001"), "amount");
    c.reserve(reserve(1, "r", "10")).await.unwrap();
    too_fine!(c, capture, capture(1, "r", "0.5"), "amount");
    c.capture(capture(1, "r", "10")).await.unwrap();
    too_fine!(c, refund, refund(1, "r", "x", "0.5"), "amount");

    service.stop().await;
}

/// An order service of the version before names no currency, and knows neither of the new reasons.
#[tokio::test]
async fn a_command_without_a_currency_is_refused_for_a_reason_that_the_version_before_knows() {
    let mut service = Running::<Sqlite>::fresh().await;
    let c = &mut service.client;
    c.open_account(in_won(1, "1000")).await.unwrap();
    let named = |id: &str, amount: &str, currency: &str| {
        let reserve = reserve(1, id, amount);
        Command::Reserve(api::ReserveRequest { currency: currency.into(), ..reserve })
    };
    let commands = [
        named("fine", "0.5", "KRW"),
        named("fine", "0.5", ""),
        named("dollars", "1", "USD"),
        named("dollars", "1", ""),
    ];
    let outcomes = c.apply(apply(commands)).await.unwrap().into_inner().outcomes;
    let reasons = outcomes.iter().map(|outcome| outcome.refusal.as_ref().unwrap().reason.as_str());
    let expected =
        ["AMOUNT_PRECISION", "INVALID_REQUEST", "CURRENCY_MISMATCH", "RESERVATION_DECLINED"];
    assert_eq!(reasons.collect::<Vec<_>>(), expected);
    service.stop().await;
}

#[tokio::test]
async fn a_reserve_that_names_another_currency_is_declined_and_none_is_not_checked() {
    let mut service = Running::<Sqlite>::fresh().await;
    let c = &mut service.client;
    c.open_account(in_won(1, "1000")).await.unwrap();
    let named = |id: &str, currency: &str| api::ReserveRequest {
        currency: currency.into(),
        ..reserve(1, id, "10")
    };
    for _ in 0..2 {
        let declined = c.reserve(named("r", "USD")).await.unwrap_err();
        assert_eq!(reason(&declined), Reason::CurrencyMismatch);
    }
    names(&c.reserve(named("s", "krw")).await.unwrap_err(), &["currency"]);
    c.reserve(named("s", "KRW")).await.unwrap();
    let held = c.reserve(named("t", "")).await.unwrap().into_inner();
    assert_eq!(held.account.unwrap().reserved, "20");
    service.stop().await;
}
