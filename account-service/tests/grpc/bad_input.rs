//! Bad input, a test a field: refused with the field's name, and nothing is stored.

use database::Sqlite;
use proto::account::v1 as api;

use crate::running::{
    Running, capture, deposit, get_reservation, list_entries, names, open, refund, release, reserve,
};

/// What no amount may be.
const AMOUNTS: [&str; 17] = [
    "0",
    "0.0000",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1e3",
    "1E3",
    "NaN",
    "inf",
    "1,5",
    ".5",
    "5.",
    "0.00001",
    "100000000000000.0001",
    "1000000000000000",
    "١",
];

/// What no id may be.
fn ids() -> Vec<String> {
    let odd = ["", "\n", "tab\there", "nul\0", "\u{7f}", "café", "\u{202e}"];
    odd.into_iter().map(str::to_owned).chain(["x".repeat(129), "x".repeat(100_000)]).collect()
}

/// Calls with a bad request; the refusal must name these fields.
macro_rules! refused {
    ($service:expr, $call:ident, $request:expr, $fields:expr) => {
        names(&$service.client.$call($request).await.unwrap_err(), &$fields)
    };
}

/// With account 1, holding 100, of which `r` captured 10.
async fn service() -> Running<Sqlite> {
    let mut service = Running::fresh().await;
    service.client.open_account(open(1, "100")).await.unwrap();
    service.client.reserve(reserve(1, "r", "10")).await.unwrap();
    service.client.capture(capture(1, "r", "")).await.unwrap();
    service
}

/// The account is as [`service`] left it.
async fn untouched(mut service: Running<Sqlite>) {
    let read = service.client.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!([&read.get_ref().balance, &read.get_ref().reserved], ["90", "0"]);
    let lines = service.client.list_entries(list_entries(1, 0, "")).await.unwrap().into_inner();
    assert_eq!(lines.entries.len(), 2);
    service.stop().await;
}

#[tokio::test]
async fn account_id_must_be_positive_in_every_call() {
    let mut s = service().await;
    for id in [0, -1, i64::MIN] {
        refused!(s, open_account, open(id, "1"), ["account_id"]);
        refused!(s, deposit, deposit(id, "d", "1"), ["account_id"]);
        refused!(s, get_account, api::GetAccountRequest { account_id: id }, ["account_id"]);
        refused!(s, reserve, reserve(id, "n", "1"), ["account_id"]);
        refused!(s, capture, capture(id, "n", "1"), ["account_id"]);
        refused!(s, release, release(id, "n"), ["account_id"]);
        refused!(s, refund, refund(id, "n", "x", "1"), ["account_id"]);
        refused!(s, get_reservation, get_reservation(id, "n"), ["account_id"]);
        refused!(s, list_entries, list_entries(id, 0, ""), ["account_id"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn amounts_must_be_plain_positive_and_bounded() {
    let mut s = service().await;
    for amount in AMOUNTS.into_iter().chain([""]) {
        refused!(s, deposit, deposit(1, "d", amount), ["amount"]);
        refused!(s, reserve, reserve(1, "n", amount), ["amount"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn amounts_of_captures_and_refunds_may_be_empty_but_not_wrong() {
    let mut s = service().await;
    for amount in AMOUNTS {
        refused!(s, capture, capture(1, "r", amount), ["amount"]);
        refused!(s, refund, refund(1, "r", "x", amount), ["amount"]);
    }
    assert!(s.client.capture(capture(1, "r", "")).await.unwrap().into_inner().replayed);
    untouched(s).await;
}

#[tokio::test]
async fn an_opening_balance_may_be_empty_or_zero_but_not_wrong() {
    let mut s = service().await;
    for amount in AMOUNTS.into_iter().filter(|amount| !amount.starts_with("0.0000")) {
        if amount != "0" {
            refused!(s, open_account, open(2, amount), ["opening_balance"]);
        }
    }
    for (id, zero) in [(3, ""), (4, "0"), (5, "0.0000")] {
        let account = s.client.open_account(open(id, zero)).await.unwrap().into_inner();
        assert_eq!(account.balance, "0");
    }
    untouched(s).await;
}

#[tokio::test]
async fn a_currency_must_be_an_iso_4217_code_in_capitals() {
    let mut s = service().await;
    for currency in ["usd", "US", "USDT", "ABC", "840", " USD", "$"] {
        let request = api::OpenAccountRequest { currency: currency.into(), ..open(2, "1") };
        refused!(s, open_account, request, ["currency"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn reserve_id_must_be_printable_and_bounded_in_every_call() {
    let mut s = service().await;
    for id in ids() {
        refused!(s, reserve, reserve(1, &id, "1"), order_id_too(&id));
        refused!(s, capture, capture(1, &id, ""), ["reserve_id"]);
        refused!(s, release, release(1, &id), ["reserve_id"]);
        refused!(s, refund, refund(1, &id, "x", "1"), ["reserve_id"]);
        refused!(s, get_reservation, get_reservation(1, &id), ["reserve_id"]);
    }
    untouched(s).await;
}

/// The order's id is made of the reservation's; only an empty one leaves it good.
fn order_id_too(reserve_id: &str) -> Vec<&'static str> {
    if reserve_id.is_empty() { vec!["reserve_id"] } else { vec!["reserve_id", "order_id"] }
}

#[tokio::test]
async fn order_id_must_be_printable_and_bounded() {
    let mut s = service().await;
    for order_id in ids() {
        let request = api::ReserveRequest { order_id, ..reserve(1, "n", "1") };
        refused!(s, reserve, request, ["order_id"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn deposit_id_must_be_printable_and_bounded() {
    let mut s = service().await;
    for id in ids() {
        refused!(s, deposit, deposit(1, &id, "1"), ["deposit_id"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn refund_id_must_be_printable_and_bounded() {
    let mut s = service().await;
    for id in ids() {
        refused!(s, refund, refund(1, "r", &id, "1"), ["refund_id"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn ttl_must_be_between_a_second_and_thirty_days() {
    let mut s = service().await;
    let month = 30 * 24 * 60 * 60;
    let wrong =
        [(0, 0), (0, 999_999_999), (-5, 0), (2, -1), (month, 1), (i64::MAX, 0), (1, i32::MIN)];
    for (seconds, nanos) in wrong {
        let ttl = Some(prost_types::Duration { seconds, nanos });
        refused!(s, reserve, api::ReserveRequest { ttl, ..reserve(1, "n", "1") }, ["ttl"]);
    }
    for (id, seconds, nanos) in [("least", 1, 0), ("odd", 1, 1), ("most", month, 0)] {
        let ttl = Some(prost_types::Duration { seconds, nanos });
        let request = api::ReserveRequest { ttl, ..reserve(1, id, "1") };
        let first = s.client.reserve(request.clone()).await.unwrap().into_inner();
        let again = s.client.reserve(request).await.unwrap().into_inner();
        assert_eq!(first.reservation, again.reservation);
        s.client.release(release(1, id)).await.unwrap();
    }
    untouched(s).await;
}

#[tokio::test]
async fn page_size_must_not_be_negative_and_is_bounded() {
    let mut s = service().await;
    for size in [-1, i32::MIN] {
        refused!(s, list_entries, list_entries(1, size, ""), ["page_size"]);
    }
    for size in [0, 1, i32::MAX] {
        s.client.list_entries(list_entries(1, size, "")).await.unwrap();
    }
    untouched(s).await;
}

#[tokio::test]
async fn a_page_token_must_be_one_that_this_list_gave_out() {
    let mut s = service().await;
    s.client.open_account(open(2, "1")).await.unwrap();
    let page = s.client.list_entries(list_entries(1, 1, "")).await.unwrap().into_inner();
    let token = page.next_page_token;
    assert!(!token.is_empty());
    s.client.list_entries(list_entries(1, 1, &token)).await.unwrap();
    refused!(s, list_entries, list_entries(2, 1, &token), ["page_token"]);
    for wrong in ["1", "AAAA", "made up", &token[1..], &format!("{token}A"), &"x".repeat(10_000)] {
        refused!(s, list_entries, list_entries(1, 1, wrong), ["page_token"]);
    }
    untouched(s).await;
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let mut s = service().await;
    let request = api::ReserveRequest::default();
    let fields = ["account_id", "amount", "reserve_id", "order_id"];
    refused!(s, reserve, request, fields);
    untouched(s).await;
}
