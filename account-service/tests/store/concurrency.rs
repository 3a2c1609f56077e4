//! Several stores on one database, as several lanes and several pods are.

use account_service::{
    audit::audit,
    ledger::{Command, Outcome, Refusal},
};
use tokio::task::JoinSet;

use crate::{
    commands::{capture, deposit, open, release, reserve},
    on_both,
    support::{Fresh, Place},
};

on_both!(
    one_reserve_id_from_many_sides_holds_once,
    a_balance_is_never_overdrawn_from_many_sides,
    an_account_opened_from_many_sides_is_opened_once,
    reserve_and_release_of_an_unknown_id_agree_on_who_came_first,
    batches_that_overlap_in_any_order_all_get_through,
);

/// Runs each batch on a store of its own, all at once.
async fn at_once<B: Fresh>(place: &Place<B>, batches: Vec<Vec<Command>>) -> Vec<Vec<Outcome>> {
    let mut running = JoinSet::new();
    for (n, batch) in batches.into_iter().enumerate() {
        let mut store = place.store();
        running.spawn(async move { (n, store.apply(&batch).await.unwrap()) });
    }
    let mut outcomes = running.join_all().await;
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcomes)| outcomes).collect()
}

async fn one_reserve_id_from_many_sides_holds_once<B: Fresh>() {
    let place = B::fresh().await;
    place.store().apply(&[open(1, "10")]).await.unwrap();
    for round in 0..10 {
        let id = format!("r{round}");
        let outcomes = at_once(&place, vec![vec![reserve(1, &id, "1")]; 8]).await;
        let first = |outcome: &&Outcome| outcome.as_ref().is_ok_and(|receipt| !receipt.replayed);
        assert_eq!(outcomes.iter().flatten().filter(first).count(), 1, "{outcomes:?}");
        assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies["USD"].held == 100_000, "{report:?}");
}

async fn a_balance_is_never_overdrawn_from_many_sides<B: Fresh>() {
    let place = B::fresh().await;
    place.store().apply(&[open(1, "10")]).await.unwrap();
    let batch = |side| (0..5).map(|n| reserve(1, &format!("{side}-{n}"), "1")).collect();
    let outcomes = at_once(&place, (0..8).map(batch).collect()).await;
    let held = outcomes.iter().flatten().filter(|outcome| outcome.is_ok()).count();
    let short = outcomes.iter().flatten();
    let short = short.filter(|outcome| **outcome == Err(Refusal::InsufficientFunds)).count();
    assert_eq!((held, short), (10, 30));
    assert!(audit::<B>(place.options.clone()).await.unwrap().ok);
}

async fn an_account_opened_from_many_sides_is_opened_once<B: Fresh>() {
    let place = B::fresh().await;
    for id in 1..=10 {
        let batch = |side: i64| vec![open(id, "10"), deposit(id, &format!("d{side}"), "1")];
        let outcomes = at_once(&place, (0..6).map(batch).collect()).await;
        let opened = outcomes.iter().filter(|batch| !batch[0].as_ref().unwrap().replayed).count();
        assert_eq!(opened, 1);
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies["USD"].balance == 1_600_000, "{report:?}");
}

async fn reserve_and_release_of_an_unknown_id_agree_on_who_came_first<B: Fresh>() {
    let place = B::fresh().await;
    place.store().apply(&[open(1, "1000")]).await.unwrap();
    // Account 1 is locked by both sides; account 2 does not exist, and they meet at the unique key.
    for account in [1, 2] {
        for round in 0..20 {
            let id = format!("r{round}");
            let sides = vec![vec![reserve(account, &id, "1")], vec![release(account, &id)]];
            let outcomes = at_once(&place, sides).await;
            let [reserved, released] = [&outcomes[0][0], &outcomes[1][0]];
            let released = released.as_ref().unwrap();
            match reserved {
                Ok(_) => assert!(account == 1 && !released.replayed),
                Err(Refusal::ReservationReleased) => assert!(!released.replayed),
                Err(Refusal::AccountNotFound) => assert!(account == 2 && released.replayed),
                Err(other) => panic!("{other}"),
            }
            let later = place.store().apply(&[reserve(account, &id, "1")]).await.unwrap();
            assert!(later[0].is_err());
        }
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies["USD"].held == 0, "{report:?}");
}

async fn batches_that_overlap_in_any_order_all_get_through<B: Fresh>() {
    let place = B::fresh().await;
    let ids: Vec<i64> = (1..=20).collect();
    let opened: Vec<_> = ids.iter().map(|id| open(*id, "100")).collect();
    place.store().apply(&opened).await.unwrap();
    for round in 0..5 {
        let side = |side: usize| {
            let mut ids = ids.clone();
            ids.rotate_left(side * 5);
            if side % 2 == 1 {
                ids.reverse();
            }
            let hold = |id: i64| format!("{round}-{side}-{id}");
            let mut batch: Vec<_> = ids.iter().map(|id| reserve(*id, &hold(*id), "1")).collect();
            batch.extend(ids.iter().map(|id| capture(*id, &hold(*id), "")));
            batch
        };
        let outcomes = at_once(&place, (0..4).map(side).collect()).await;
        assert!(outcomes.iter().flatten().all(Result::is_ok), "{outcomes:?}");
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies["USD"].captured == 5 * 4 * 20 * 10_000, "{report:?}");
}
