//! Reading, listing and cancelling orders.

use order_service::order::{Action, decision::Verdict};
use proto::id::ProductId;
use tokio::task::JoinSet;

use crate::{
    on_both,
    support::{Fresh, LONG, account, amount, claim, lines, new_id, product, settle},
};

on_both!(
    orders_are_listed_newest_first_in_pages,
    an_order_of_another_account_is_not_found,
    a_cancel_gives_stock_back_once_from_many_sides,
    an_order_that_is_not_there_cannot_be_cancelled,
);

async fn orders_are_listed_newest_first_in_pages<S: Fresh>() {
    let place = S::fresh().await;
    let mut store = place.store::<S>(LONG);
    let mut placed = Vec::new();
    for n in 0..5 {
        let claim = claim(&mut store, &amount(1, &format!("k{n}"), "10")).await;
        settle(&mut store, &claim, Verdict::Reserved).await;
        placed.insert(0, claim.order_id);
    }
    let pages = [(account(1), None, 2), (account(1), Some(placed[1]), 9), (account(2), None, 9)];
    let lists = store.list_orders(&pages).await.unwrap();
    let ids = |n: usize| lists[n].iter().map(|order| order.order_id).collect::<Vec<_>>();
    assert_eq!((ids(0), ids(1), ids(2)), (placed[..2].to_vec(), placed[2..].to_vec(), vec![]));
}

async fn an_order_of_another_account_is_not_found<S: Fresh>() {
    let place = S::fresh().await;
    let mut store = place.store::<S>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    settle(&mut store, &claim, Verdict::Reserved).await;
    let found =
        store.orders(&[(account(2), claim.order_id), (account(1), new_id())]).await.unwrap();
    assert_eq!(found, [None, None]);
    assert!(store.cancel(&[(account(2), claim.order_id)]).await.unwrap()[0].is_none());
}

async fn a_cancel_gives_stock_back_once_from_many_sides<S: Fresh>() {
    let place = S::fresh().await;
    let mut store = place.store::<S>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let claim = claim(&mut store, &lines(1, "k", &[(1, 2)])).await;
    settle(&mut store, &claim, Verdict::Reserved).await;
    let mut sides = JoinSet::new();
    for _ in 0..6 {
        let (mut store, order_id) = (place.store::<S>(LONG), claim.order_id);
        sides.spawn(async move { store.cancel(&[(account(1), order_id); 2]).await.unwrap() });
    }
    let cancelled = sides.join_all().await;
    let cancelled: Vec<_> = cancelled.into_iter().flatten().map(Option::unwrap).collect();
    assert!(cancelled.iter().all(|cancelled| cancelled.order.cancelled));
    let notices: Vec<_> = cancelled.iter().filter_map(|c| c.notice.as_ref()).collect();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].action, Action::Refund);
    let left = store.products(&[ProductId::new(1).unwrap()]).await.unwrap().remove(0).unwrap();
    assert_eq!(left.stock, 5);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn an_order_that_is_not_there_cannot_be_cancelled<S: Fresh>() {
    let place = S::fresh().await;
    assert!(place.store::<S>(LONG).cancel(&[(account(1), new_id())]).await.unwrap()[0].is_none());
}
