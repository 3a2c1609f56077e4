//! A database that went back in time is noticed, whoever saw what it lost.

use database::{Discontinuity, Lineage, StoreError};
use order_service::storage::{Store, Tables};

use crate::{
    on_both,
    support::{Fresh, LONG, Place, claim, product},
};

on_both!(
    a_transaction_is_counted_and_a_look_is_not,
    commits_that_are_gone_halt_the_process_and_every_other,
    a_new_connection_to_another_database_is_refused,
    an_accepted_loss_lets_work_go_on,
    a_key_is_amended_only_by_its_holder,
);

async fn tracked<B: Fresh>(place: &Place) -> (Store<B>, Lineage) {
    let lineage = Lineage::new(0);
    let mut store = place.store::<B>(LONG).tracked(lineage.clone());
    store.look().await.unwrap().unwrap();
    (store, lineage)
}

async fn commit<B: Tables>(store: &mut Store<B>) -> Result<(), StoreError> {
    store.put_products(&[product(1, "1", 5)]).await
}

fn commits(lineage: &Lineage) -> i64 {
    lineage.seen().unwrap().commits.iter().sum()
}

/// Takes the database back to before its last commits, as a restored backup does.
async fn go_back(place: &Place) {
    place.execute("UPDATE commit_counters SET commits = 0").await;
}

async fn a_transaction_is_counted_and_a_look_is_not<B: Fresh>() {
    let place = B::fresh().await;
    let (mut store, lineage) = tracked::<B>(&place).await;
    let before = commits(&lineage);
    for _ in 0..3 {
        commit(&mut store).await.unwrap();
        store.look().await.unwrap().unwrap();
    }
    assert_eq!(commits(&lineage), before + 3);
    assert_eq!(commits(&tracked::<B>(&place).await.1), before + 3);
}

async fn commits_that_are_gone_halt_the_process_and_every_other<B: Fresh>() {
    let place = B::fresh().await;
    let (mut store, _) = tracked::<B>(&place).await;
    commit(&mut store).await.unwrap();
    go_back(&place).await;
    assert_eq!(store.look().await.unwrap(), Err(Discontinuity::CommitsLost { lost: 1 }));
    assert!(matches!(commit(&mut store).await, Err(StoreError::Unavailable(_))));

    // A process that saw nothing of what is gone reads it in the database.
    let mut other = place.store::<B>(LONG).tracked(Lineage::new(0));
    assert!(matches!(commit(&mut other).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(other.look().await.unwrap(), Err(Discontinuity::Halted(_))));
}

async fn a_new_connection_to_another_database_is_refused<B: Fresh>() {
    let (place, another) = (B::fresh().await, B::fresh().await);
    let (_, lineage) = tracked::<B>(&place).await;
    let mut store = another.store::<B>(LONG).tracked(lineage.clone());
    assert!(matches!(commit(&mut store).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(lineage.check(), Err(Discontinuity::OtherDatabase { .. })));
}

async fn an_accepted_loss_lets_work_go_on<B: Fresh>() {
    let place = B::fresh().await;
    let (mut store, _) = tracked::<B>(&place).await;
    commit(&mut store).await.unwrap();
    go_back(&place).await;
    store.look().await.unwrap().unwrap_err();

    let epoch = place.store::<B>(LONG).resume(false).await.unwrap();
    assert!(epoch > 1, "{epoch}");
    store.look().await.unwrap().unwrap();
    commit(&mut store).await.unwrap();

    // The backup of before, once more.
    place.execute("UPDATE database_identity SET epoch = 1").await;
    let older = Discontinuity::EpochBehind { seen: epoch, found: 1 };
    assert_eq!(store.look().await.unwrap(), Err(older));
}

async fn a_key_is_amended_only_by_its_holder<B: Fresh>() {
    use crate::support::{account, amount, key, money, new_id};
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let mut held = claim(&mut store, &amount(1, "k", "10")).await;
    let stale = order_service::order::key::Claim { fence: held.fence + 1, ..held.clone() };
    (held.order_id, held.amount) = (new_id(), money("7"));
    assert_eq!(store.amend(&[held.clone(), stale]).await.unwrap(), [true, false]);
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.claim, held);
}
