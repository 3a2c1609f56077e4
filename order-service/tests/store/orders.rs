//! Reading, listing and cancelling orders.

use order_service::{
    order::{Action, Order, decision::Verdict},
    storage::{Claimed, Cursor, NewClaim},
};
use proto::id::ProductId;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    on_both,
    support::{
        Fresh, LONG, account, amount, claim, decide, lines, new_claim, new_id, product, settlement,
    },
};

on_both!(
    orders_are_listed_newest_first_in_pages,
    the_newest_order_comes_first_though_its_id_is_of_a_clock_an_hour_behind,
    pages_through_orders_of_one_instant_show_each_once,
    an_order_of_another_account_is_not_found,
    a_cancel_gives_stock_back_once_from_many_sides,
    an_order_that_is_not_there_cannot_be_cancelled,
);

async fn orders_are_listed_newest_first_in_pages<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let mut placed = Vec::new();
    for n in 0..5 {
        let claim = claim(&mut store, &amount(1, &format!("k{n}"), "10")).await;
        decide(&mut store, &claim, Verdict::Reserved).await;
        placed.insert(0, claim.order_id);
    }
    let second = store.orders(&[(account(1), placed[1])]).await.unwrap().remove(0).unwrap();
    let pages = [
        (account(1), None, 2),
        (account(1), Some(after(&second)), 9),
        (account(2), None, 9),
        // From a token of the version before, and from one whose order is not there.
        (account(1), Some(Cursor::Id(placed[1])), 9),
        (account(2), Some(Cursor::Id(placed[1])), 9),
    ];
    let lists = store.list_orders(&pages).await.unwrap();
    let ids = lists.iter().map(|list| list.iter().map(|order| order.order_id).collect::<Vec<_>>());
    let (newest, oldest) = (placed[..2].to_vec(), placed[2..].to_vec());
    assert_eq!(ids.collect::<Vec<_>>(), [newest, oldest.clone(), vec![], oldest, vec![]]);
}

fn after(order: &Order) -> Cursor {
    Cursor::Order { placed_at: order.placed_at, order_id: order.order_id }
}

async fn the_newest_order_comes_first_though_its_id_is_of_a_clock_an_hour_behind<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let hour_ago = |id: Uuid| Uuid::from_u128(id.as_u128() - (3_600_000 << 80));
    let mut placed = Vec::new();
    for (n, id) in [new_id(), new_id(), hour_ago(new_id())].into_iter().enumerate() {
        let claim = NewClaim { order_id: id, ..new_claim(&amount(1, &format!("k{n}"), "10")) };
        let claimed = store.claim(&[claim]).await.unwrap().remove(0);
        let Claimed::Mine(claim) = claimed else { panic!("{claimed:?}") };
        decide(&mut store, &claim, Verdict::Reserved).await;
        placed.insert(0, id);
    }
    assert!(placed[0] < placed[2], "its id says that it is the oldest");
    let listed = store.list_orders(&[(account(1), None, 9)]).await.unwrap().remove(0);
    assert_eq!(listed.iter().map(|order| order.order_id).collect::<Vec<_>>(), placed);
}

async fn pages_through_orders_of_one_instant_show_each_once<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let mut settlements = Vec::new();
    for n in 0..7 {
        let claim = claim(&mut store, &amount(1, &format!("k{n}"), "10")).await;
        settlements.push(settlement(&claim, Verdict::Reserved));
    }
    // One transaction, one time.
    store.decide(&settlements).await.unwrap();

    let (mut seen, mut next) = (Vec::new(), None);
    loop {
        let page = store.list_orders(&[(account(1), next, 2)]).await.unwrap().remove(0);
        let Some(last) = page.last() else { break };
        next = Some(after(last));
        seen.extend(page.iter().map(|order| order.order_id));
    }
    let mut placed: Vec<_> = settlements.iter().map(|it| it.claim.order_id).collect();
    seen.sort_unstable();
    placed.sort_unstable();
    assert_eq!(seen, placed);
}

async fn an_order_of_another_account_is_not_found<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    decide(&mut store, &claim, Verdict::Reserved).await;
    let found =
        store.orders(&[(account(2), claim.order_id), (account(1), new_id())]).await.unwrap();
    assert_eq!(found, [None, None]);
    assert!(store.cancel(&[(account(2), claim.order_id).into()]).await.unwrap()[0].is_none());
}

async fn a_cancel_gives_stock_back_once_from_many_sides<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let claim = claim(&mut store, &lines(1, "k", &[(1, 2)])).await;
    decide(&mut store, &claim, Verdict::Reserved).await;
    let mut sides = JoinSet::new();
    for _ in 0..6 {
        let (mut store, order_id) = (place.store::<B>(LONG), claim.order_id);
        let twice = [(account(1), order_id).into(), (account(1), order_id).into()];
        sides.spawn(async move { store.cancel(&twice).await.unwrap() });
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

async fn an_order_that_is_not_there_cannot_be_cancelled<B: Fresh>() {
    let place = B::fresh().await;
    assert!(
        place.store::<B>(LONG).cancel(&[(account(1), new_id()).into()]).await.unwrap()[0].is_none()
    );
}
