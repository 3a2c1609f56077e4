//! Claiming, reading, taking over, handing back.

use order_service::{
    order::key::{Finding, KeyState},
    order::request::Unpriced,
    storage::Claimed,
};
use proto::id::ProductId;
use tokio::task::JoinSet;

use crate::{
    on_both,
    support::{Fresh, LONG, OVER, account, amount, claim, key, lines, new_claim, product},
};

on_both!(
    bug_2_of_many_claims_of_one_key_one_wins,
    bug_9_a_key_belongs_to_its_account,
    a_claim_that_went_through_after_all_is_found_to_be_ones_own,
    another_request_under_the_key_is_told_so,
    a_lease_that_runs_is_not_taken_over,
    a_lease_that_is_over_is_taken_over_by_one,
    a_lease_that_was_handed_back_is_free_at_once,
    a_key_without_a_price_is_not_claimed,
    the_price_is_that_of_the_claim,
    overdue_keys_are_found_and_others_are_not,
    bug_12_a_lease_is_timed_by_the_databases_clock,
);

async fn bug_2_of_many_claims_of_one_key_one_wins<B: Fresh>() {
    let place = B::fresh().await;
    for round in 0..5 {
        let request = amount(1, &format!("key {round}"), "10");
        let mut sides = JoinSet::new();
        for _ in 0..8 {
            let (mut store, claim) = (place.store::<B>(LONG), new_claim(&request));
            // Other keys around it, in no order that helps.
            let others = [new_claim(&amount(2, "z", "1")), claim, new_claim(&amount(1, "a", "1"))];
            sides.spawn(async move { store.claim(&others).await.unwrap().swap_remove(1) });
        }
        let won = sides.join_all().await;
        let won = won.iter().filter(|claimed| matches!(claimed, Claimed::Mine(_))).count();
        assert_eq!(won, 1);
    }
}

async fn bug_9_a_key_belongs_to_its_account<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let one = claim(&mut store, &amount(1, "k", "10")).await;
    let two = claim(&mut store, &amount(2, "k", "10")).await;
    assert_ne!(one.order_id, two.order_id);
}

async fn a_claim_that_went_through_after_all_is_found_to_be_ones_own<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let wanted = new_claim(&amount(1, "k", "10"));
    let first = store.claim(std::slice::from_ref(&wanted)).await.unwrap().remove(0);
    // The answer to the first claim was lost.
    let again = store.claim(std::slice::from_ref(&wanted)).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken);
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.judge(&wanted.request, wanted.fence), Finding::Mine);
    assert_eq!(row.judge(&wanted.request, wanted.fence + 1), Finding::Running);
    assert_eq!(first, Claimed::Mine(row.claim));
}

async fn another_request_under_the_key_is_told_so<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let first = claim(&mut store, &amount(1, "k", "10")).await;
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.judge(&amount(1, "k", "11"), first.fence), Finding::Reused);
}

async fn a_lease_that_runs_is_not_taken_over<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let seen = claim(&mut store, &amount(1, "k", "10")).await;
    assert_eq!(store.take_over(&[seen]).await.unwrap(), [None]);
}

async fn a_lease_that_is_over_is_taken_over_by_one<B: Fresh>() {
    let place = B::fresh().await;
    let seen = claim(&mut place.store::<B>(OVER), &amount(1, "k", "10")).await;
    let mut sides = JoinSet::new();
    for _ in 0..8 {
        let (mut store, seen) = (place.store::<B>(LONG), seen.clone());
        sides.spawn(async move { store.take_over(&[seen]).await.unwrap().remove(0) });
    }
    let taken: Vec<_> = sides.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].fence, taken[0].order_id), (2, seen.order_id));
}

async fn a_lease_that_was_handed_back_is_free_at_once<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let first = claim(&mut store, &amount(1, "k", "10")).await;
    store.hand_back(std::slice::from_ref(&first)).await.unwrap();
    let second = store.take_over(std::slice::from_ref(&first)).await.unwrap().remove(0).unwrap();
    // Who was overtaken has nothing to hand back.
    store.hand_back(&[first]).await.unwrap();
    assert_eq!(store.take_over(&[second]).await.unwrap(), [None]);
}

async fn a_key_without_a_price_is_not_claimed<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "100000000000000", 5)]).await.unwrap();
    let unknown = new_claim(&lines(1, "k", &[(1, 1), (2, 1)]));
    let dear = new_claim(&lines(1, "l", &[(1, 2)]));
    let answers = store.claim(&[unknown, dear]).await.unwrap();
    let unknown = Unpriced::UnknownProduct(ProductId::new(2).unwrap());
    assert_eq!(answers, [Claimed::Unpriced(unknown), Claimed::Unpriced(Unpriced::TooLarge)]);
    let rows = store.keys(&[(account(1), key("k")), (account(1), key("l"))]).await.unwrap();
    assert_eq!(rows, [None, None]);
}

async fn the_price_is_that_of_the_claim<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let claim = claim(&mut store, &lines(1, "k", &[(1, 3)])).await;
    store.put_products(&[product(1, "99", 5)]).await.unwrap();
    let taken = store.take_over(&[claim]).await.unwrap().remove(0).unwrap();
    assert_eq!(taken.amount.to_string(), "30");
}

async fn overdue_keys_are_found_and_others_are_not<B: Fresh>() {
    let place = B::fresh().await;
    let left = claim(&mut place.store::<B>(OVER), &amount(1, "left", "10")).await;
    claim(&mut place.store::<B>(LONG), &amount(1, "held", "10")).await;
    let overdue = place.store::<B>(LONG).overdue(10).await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!(overdue[0].row.claim, left);
    assert_eq!(overdue[0].row.state, KeyState::Running { lease_over: true });
    assert!(!overdue[0].give_up);
    let soon = order_service::storage::Leases { give_up: std::time::Duration::ZERO, ..LONG };
    assert!(place.store::<B>(soon).overdue(10).await.unwrap()[0].give_up);
}

/// Were the lease the application's reckoning, it would be a little off the row's own time, which the database wrote.
async fn bug_12_a_lease_is_timed_by_the_databases_clock<B: Fresh>() {
    use sqlx::ConnectOptions;
    let place = B::fresh().await;
    claim(&mut place.store::<B>(LONG), &amount(1, "k", "10")).await;
    let exact: i64 = match &place.url {
        database::DatabaseUrl::Postgres(address) => {
            let query = "
                SELECT count(*) FROM idempotency_keys
                WHERE lease_until = created_at + interval '60 s' AND created_at <= now()";
            sqlx::query_scalar(query)
                .fetch_one(&mut address.connect().await.unwrap())
                .await
                .unwrap()
        }
        database::DatabaseUrl::Sqlite(path) => {
            let query = "
                SELECT count(*) FROM idempotency_keys
                WHERE lease_until = created_at + 60000000 AND created_at <= unixepoch('subsec') * 1000000";
            let mut connection = database::Sqlite::options(path).connect().await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
        }
    };
    assert_eq!(exact, 1);
}
