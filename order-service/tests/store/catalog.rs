//! Products and their stock.

use order_service::order::catalog::{Adjusted, Adjustment, Refusal};
use proto::id::{AdjustmentId, ProductId};
use tokio::task::JoinSet;

use crate::{
    on_both,
    support::{Fresh, LONG, product},
};

on_both!(
    a_product_is_what_was_put_last,
    an_adjustment_is_made_once_from_many_sides,
    products_are_listed_in_pages,
);

fn adjustment(id: &str, delta: i64) -> Adjustment {
    let adjustment_id = AdjustmentId::new(id).unwrap();
    Adjustment { product_id: ProductId::new(1).unwrap(), adjustment_id, delta, by: None }
}

async fn a_product_is_what_was_put_last<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    store.put_products(&[product(1, "0.0001", 0)]).await.unwrap();
    let ids = [2, 1].map(|id| ProductId::new(id).unwrap());
    assert_eq!(store.products(&ids).await.unwrap(), [None, Some(product(1, "0.0001", 0))]);
}

async fn an_adjustment_is_made_once_from_many_sides<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let mut sides = JoinSet::new();
    for _ in 0..6 {
        let mut store = place.store::<B>(LONG);
        sides.spawn(async move { store.adjust_stock(&[adjustment("a", 7)]).await.unwrap() });
    }
    let adjusted = sides.join_all().await;
    let done = adjusted.iter().flatten().filter(|a| matches!(a, Adjusted::Done(_))).count();
    assert_eq!(done, 1, "{adjusted:?}");
    let more = [adjustment("a", 8), adjustment("b", -13), adjustment("c", -12)];
    let [mismatch, too_few, all] = store.adjust_stock(&more).await.unwrap().try_into().unwrap();
    assert_eq!(mismatch, Adjusted::Refused(Refusal::Mismatch));
    assert_eq!(too_few, Adjusted::Refused(Refusal::TooFew));
    assert_eq!(all, Adjusted::Done(product(1, "10", 0)));
    assert!(store.verify().await.unwrap().is_empty());
}

async fn products_are_listed_in_pages<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let all: Vec<_> = (1..=5).map(|id| product(id, "1", id)).collect();
    store.put_products(&all).await.unwrap();
    let pages = [(None, 2), (Some(all[1].product_id), 9)];
    let lists = store.list_products(&pages).await.unwrap();
    assert_eq!((&lists[0][..], &lists[1][..]), (&all[..2], &all[2..]));
}
