//! What the account service must still be told.

use order_service::order::decision::Verdict;
use tokio::task::JoinSet;

use crate::{
    on_both,
    support::{Fresh, LONG, OVER, amount, claim, decide},
};

on_both!(
    a_notice_is_its_writers_until_its_lease_is_over,
    a_due_notice_is_leased_to_one,
    a_finished_notice_is_gone,
);

async fn a_notice_is_its_writers_until_its_lease_is_over<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    decide(&mut store, &claim, Verdict::Reserved).await;
    assert!(store.lease_notices(10).await.unwrap().is_empty());
}

async fn a_due_notice_is_leased_to_one<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    let mut written = Vec::new();
    for n in 0..20 {
        let claim = claim(&mut store, &amount(1, &format!("{n}"), "10")).await;
        written.push(decide(&mut store, &claim, Verdict::Reserved).await.notice.unwrap().order_id);
    }
    let mut sides = JoinSet::new();
    for _ in 0..6 {
        let mut store = place.store::<B>(LONG);
        sides.spawn(async move { store.lease_notices(5).await.unwrap() });
    }
    let leased = sides.join_all().await;
    let mut leased: Vec<_> = leased.into_iter().flatten().map(|notice| notice.order_id).collect();
    leased
        .extend(place.store::<B>(LONG).lease_notices(20).await.unwrap().iter().map(|n| n.order_id));
    leased.sort_unstable();
    written.sort_unstable();
    assert_eq!(leased, written);
}

async fn a_finished_notice_is_gone<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    let notice = decide(&mut store, &claim, Verdict::Reserved).await.notice.unwrap();
    store.finish_notices(&[notice.clone(), notice]).await.unwrap();
    assert!(store.lease_notices(10).await.unwrap().is_empty());
}
