//! Holds end by the database's clock: seen at once, swept in batches.

use std::collections::BTreeSet;

use account_service::{
    audit::audit,
    ledger::{Refusal, State},
    storage::Store,
};
use proto::id::ReserveId;

use crate::{
    commands::{account, capture, money, open, release, reserve, reserve_for},
    on_both,
    support::Fresh,
};

on_both!(
    a_due_hold_is_seen_as_expired_before_anybody_sweeps_it,
    a_due_hold_makes_room_for_a_reserve_that_would_be_declined,
    a_sweep_expires_what_is_due_in_batches_and_nothing_else,
    a_due_hold_is_neither_captured_nor_released_again,
);

/// A hold that is due as soon as it is made.
fn due(id: i64, reserve: &str, amount: &str) -> account_service::ledger::Command {
    reserve_for(id, reserve, "order", amount, 0)
}

async fn reserved<B: Fresh>(store: &mut Store<B>, id: i64) -> String {
    let accounts = store.accounts(&BTreeSet::from([account(id)])).await.unwrap();
    accounts[&account(id)].reserved.to_string()
}

async fn a_due_hold_is_seen_as_expired_before_anybody_sweeps_it<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let batch = [open(1, "10"), due(1, "a", "3"), reserve(1, "b", "2")];
    store.apply(&batch).await.unwrap();
    assert_eq!(reserved(&mut store, 1).await, "2");
    let keys = ["a", "b"].map(|id| (account(1), ReserveId::new(id).unwrap()));
    let seen = store.reservations(&BTreeSet::from(keys.clone())).await.unwrap();
    assert_eq!(keys.map(|key| seen[&key].state), [State::Expired, State::Held]);
}

async fn a_due_hold_makes_room_for_a_reserve_that_would_be_declined<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let batch = [open(1, "10"), due(1, "a", "3"), due(1, "b", "3"), reserve(1, "c", "3")];
    store.apply(&batch).await.unwrap();
    let outcomes = store.apply(&[reserve(1, "d", "7"), reserve(1, "e", "0.01")]).await.unwrap();
    let receipt = outcomes[0].as_ref().unwrap();
    assert_eq!(receipt.account.unwrap().reserved, money("10"));
    assert_eq!(outcomes[1], Err(Refusal::InsufficientFunds));
    assert_eq!(store.expire(10).await.unwrap(), 0, "they were expired on the way");
    assert!(audit::<B>(place.options.clone()).await.unwrap().ok);
}

async fn a_sweep_expires_what_is_due_in_batches_and_nothing_else<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let mut batch = vec![open(1, "10"), open(2, "10"), reserve(1, "kept", "1")];
    batch.extend((0..3).map(|n| due(1, &format!("a{n}"), "1")));
    batch.extend((0..2).map(|n| due(2, &format!("b{n}"), "1")));
    store.apply(&batch).await.unwrap();
    let mut swept = Vec::new();
    while let holds @ 1.. = store.expire(2).await.unwrap() {
        swept.push(holds);
    }
    assert!(swept.iter().all(|holds| *holds <= 2), "{swept:?}");
    assert_eq!(swept.iter().sum::<u64>(), 5, "{swept:?}");
    assert_eq!(reserved(&mut store, 1).await, "1");
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.currencies["USD"].held, 10_000, "one unit is still held");
}

async fn a_due_hold_is_neither_captured_nor_released_again<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    store.apply(&[open(1, "10"), due(1, "a", "3"), due(1, "b", "3")]).await.unwrap();
    let batch = [capture(1, "a", ""), release(1, "b"), due(1, "a", "3")];
    let outcomes = store.apply(&batch).await.unwrap();
    assert_eq!(outcomes[0], Err(Refusal::ReservationExpired));
    assert!(outcomes[1].as_ref().unwrap().replayed);
    assert_eq!(outcomes[2], Err(Refusal::ReservationExpired));
    assert!(audit::<B>(place.options.clone()).await.unwrap().ok);
}
