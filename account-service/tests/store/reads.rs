//! Questions: accounts, reservations, statements.

use std::collections::BTreeSet;

use account_service::{
    ledger::{Entry, EntryKind},
    storage::Page,
};
use proto::id::ReserveId;

use crate::{
    commands::{account, capture, deposit, open, refund, reserve},
    on_both,
    support::Fresh,
};

on_both!(
    what_does_not_exist_is_not_found,
    a_statement_has_a_line_for_each_change_newest_first,
    pages_follow_each_other_without_gap_or_overlap,
    an_account_that_never_held_money_has_an_empty_statement,
);

fn page(id: i64, before: Option<i64>, limit: usize) -> Page {
    Page { account_id: account(id), before, limit }
}

async fn what_does_not_exist_is_not_found<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    assert!(store.accounts(&BTreeSet::from([account(7)])).await.unwrap().is_empty());
    let key = (account(7), ReserveId::new("r").unwrap());
    assert!(store.reservations(&BTreeSet::from([key])).await.unwrap().is_empty());
    assert_eq!(store.entries(&[page(7, None, 10)]).await.unwrap(), [None]);
}

async fn a_statement_has_a_line_for_each_change_newest_first<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let batch = [
        open(1, "10"),
        deposit(1, "d", "5"),
        reserve(1, "r", "4"),
        capture(1, "r", "3.5"),
        refund(1, "r", "x", "0.5"),
    ];
    store.apply(&batch).await.unwrap();
    let lines = store.entries(&[page(1, None, 10)]).await.unwrap().remove(0).unwrap();
    let shown = |line: &Entry| {
        let order = line.order_id.as_ref().map(ToString::to_string);
        let (amount, balance) = (line.amount.to_string(), line.balance.to_string());
        (line.sequence, line.kind, amount, balance, line.reference.to_string(), order)
    };
    let line =
        |sequence, kind, amount: &str, balance: &str, reference: &str, order: Option<&str>| {
            let order = order.map(str::to_owned);
            (sequence, kind, amount.to_owned(), balance.to_owned(), reference.to_owned(), order)
        };
    let expected = [
        line(4, EntryKind::Refund, "0.5", "12", "x", Some("o-r")),
        line(3, EntryKind::Capture, "3.5", "11.5", "r", Some("o-r")),
        line(2, EntryKind::Deposit, "5", "15", "d", None),
        line(1, EntryKind::Opening, "10", "10", "", None),
    ];
    assert_eq!(lines.iter().map(shown).collect::<Vec<_>>(), expected);
}

async fn pages_follow_each_other_without_gap_or_overlap<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let mut batch = vec![open(1, "10"), open(2, "10")];
    batch.extend((0..24).map(|n| deposit(1 + n % 2, &format!("d{n}"), "1")));
    store.apply(&batch).await.unwrap();
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        // A page of another account in the same read must not mix in.
        let pages = [page(2, None, 3), page(1, before, 5)];
        let lines = store.entries(&pages).await.unwrap().remove(1).unwrap();
        assert!(lines.len() <= 5 && lines.iter().all(|line| line.account_id == account(1)));
        let Some(last) = lines.last() else { break };
        before = Some(last.sequence);
        seen.extend(lines.iter().map(|line| line.sequence));
    }
    assert_eq!(seen, (1..=13).rev().collect::<Vec<_>>());
}

async fn an_account_that_never_held_money_has_an_empty_statement<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    store.apply(&[open(1, "0")]).await.unwrap();
    assert_eq!(store.entries(&[page(1, None, 10)]).await.unwrap(), [Some(Vec::new())]);
}
