//! Every call when all goes well.

use database::{Postgres, Sqlite};
use prost_types::Timestamp;
use proto::account::v1::{self as api, EntryKind, ReservationState};

use crate::{
    running::{
        Running, capture, deposit, get_reservation, list_entries, open, refund, release, reserve,
    },
    support::Fresh,
};

#[tokio::test]
async fn every_call_does_what_the_contract_says_on_sqlite() {
    every_call::<Sqlite>().await;
}

#[tokio::test]
async fn every_call_does_what_the_contract_says_on_postgres() {
    every_call::<Postgres>().await;
}

/// Balance, reserved and available.
fn amounts(account: &api::Account) -> [&str; 3] {
    [&account.balance, &account.reserved, &account.available]
}

async fn every_call<B: Fresh>() {
    let mut service = Running::<B>::fresh().await;
    let client = &mut service.client;

    let account = client.open_account(open(1, "100.50")).await.unwrap().into_inner();
    assert_eq!((account.account_id, account.currency.as_str()), (1, "USD"));
    assert_eq!(amounts(&account), ["100.5", "0", "100.5"]);
    let again = client.open_account(open(1, "100.5")).await.unwrap().into_inner();
    assert_eq!(again, account);
    let empty = api::OpenAccountRequest { account_id: 2, ..Default::default() };
    let other = client.open_account(empty).await.unwrap().into_inner();
    assert_eq!((other.currency.as_str(), amounts(&other)), ("EUR", ["0", "0", "0"]));

    let reply = client.deposit(deposit(1, "d", "9.5000")).await.unwrap().into_inner();
    assert!(!reply.replayed);
    assert_eq!(amounts(reply.account.as_ref().unwrap()), ["110", "0", "110"]);
    assert!(client.deposit(deposit(1, "d", "9.5")).await.unwrap().into_inner().replayed);

    let reply = client.reserve(reserve(1, "r", "30")).await.unwrap().into_inner();
    assert_eq!(amounts(reply.account.as_ref().unwrap()), ["110", "30", "80"]);
    let held = reply.reservation.unwrap();
    assert_eq!(held.state(), ReservationState::Held);
    assert_eq!((held.order_id.as_str(), held.amount.as_str()), ("order of r", "30"));
    assert_eq!(seconds_between(&held.created_at, &held.expires_at), 60);
    let again = client.reserve(reserve(1, "r", "30.0")).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.reservation.as_ref(), Some(&held));
    let read = client.get_reservation(get_reservation(1, "r")).await.unwrap().into_inner();
    assert_eq!(read, held);

    let reply = client.capture(capture(1, "r", "20.25")).await.unwrap().into_inner();
    assert_eq!(amounts(reply.account.as_ref().unwrap()), ["89.75", "0", "89.75"]);
    let captured = reply.reservation.unwrap();
    assert_eq!(captured.state(), ReservationState::Captured);
    assert_eq!(captured.captured_amount, "20.25");
    assert!(client.capture(capture(1, "r", "20.25")).await.unwrap().into_inner().replayed);

    let reply = client.refund(refund(1, "r", "x", "0.25")).await.unwrap().into_inner();
    assert_eq!((amounts(&reply.account.unwrap()), reply.replayed), (["90", "0", "90"], false));
    assert!(client.refund(refund(1, "r", "x", "0.25")).await.unwrap().into_inner().replayed);
    let read = client.get_reservation(get_reservation(1, "r")).await.unwrap().into_inner();
    assert_eq!(read.refunded_amount, "0.25");

    client.reserve(reserve(1, "released", "1")).await.unwrap();
    let reply = client.release(release(1, "released")).await.unwrap().into_inner();
    assert_eq!(reply.reservation.unwrap().state(), ReservationState::Released);
    assert!(client.release(release(1, "released")).await.unwrap().into_inner().replayed);
    let tombstone = client.release(release(3, "unseen")).await.unwrap().into_inner();
    assert_eq!((tombstone.account, tombstone.replayed), (None, false));
    assert_eq!(tombstone.reservation.unwrap().amount, "0");

    let read = client.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!(amounts(read.get_ref()), ["90", "0", "90"]);
    every_line(client).await;
    service.stop().await;
}

async fn every_line(
    client: &mut api::account_service_client::AccountServiceClient<tonic::transport::Channel>,
) {
    let first = client.list_entries(list_entries(1, 3, "")).await.unwrap().into_inner();
    let next = list_entries(1, 3, &first.next_page_token);
    let second = client.list_entries(next).await.unwrap().into_inner();
    assert_eq!(second.next_page_token, "");
    let lines: Vec<_> = first.entries.iter().chain(&second.entries).collect();
    let shown = |line: &&api::Entry| {
        (line.sequence, line.kind(), line.amount.clone(), line.balance.clone())
    };
    let line = |sequence, kind, amount: &str, balance: &str| {
        (sequence, kind, amount.to_owned(), balance.to_owned())
    };
    let expected = [
        line(4, EntryKind::Refund, "0.25", "90"),
        line(3, EntryKind::Capture, "20.25", "89.75"),
        line(2, EntryKind::Deposit, "9.5", "110"),
        line(1, EntryKind::Opening, "100.5", "100.5"),
    ];
    assert_eq!(lines.iter().map(shown).collect::<Vec<_>>(), expected);
}

fn seconds_between(from: &Option<Timestamp>, to: &Option<Timestamp>) -> i64 {
    to.unwrap().seconds - from.unwrap().seconds
}
