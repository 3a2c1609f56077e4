//! An installation moves from a table of keys to keys in the rows of their orders, and back, under load.

use std::{collections::HashMap, sync::Arc, time::Duration};

use order_service::{
    layout::{self, Command},
    order::decision::Verdict,
    storage::{Claimed, Layout, Store, Tables},
};
use proto::id::{AccountId, IdempotencyKey};
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

use crate::{
    on_both_with_keys_apart,
    support::{Fresh, LONG, account, amount, claim, key, new_claim, settlement},
};

on_both_with_keys_apart!(
    keys_that_are_claimed_from_many_sides_while_they_move_make_one_order_each,
    what_is_left_on_the_way_back_is_told,
);

/// Longer than a statement takes here.
const STEP: Duration = Duration::from_secs(1);

/// Each is claimed by two sides.
const SIDES: usize = 4;

type Placed = HashMap<(AccountId, IdempotencyKey), Uuid>;

async fn keys_that_are_claimed_from_many_sides_while_they_move_make_one_order_each<B: Fresh>() {
    let place = B::fresh().await;
    let (stop, stopped) = watch::channel(false);
    let mut sides = JoinSet::new();
    for side in 0..SIDES {
        sides.spawn(place_until(place.store::<B>(LONG), side / 2, stopped.clone()));
    }
    for goal in [Layout::Orders, Layout::Keys, Layout::Orders] {
        let (limit, step) = (Duration::from_secs(60), STEP);
        let command = Command::Move { goal, limit };
        layout::run(place.store::<B>(LONG), command, step).await.unwrap();
        assert_eq!(place.store::<B>(LONG).layout().await.unwrap(), goal);
    }
    stop.send_replace(true);

    let mut placed = Placed::new();
    let mut orders = 0;
    for (name, order_id) in sides.join_all().await.into_iter().flatten() {
        orders += 1;
        let before = placed.insert(name.clone(), order_id);
        assert!(before.is_none_or(|before| before == order_id), "two orders of {name:?}");
    }
    assert!(placed.len() < orders, "no key was claimed by two sides");

    let mut store = place.store::<B>(LONG);
    assert!(store.verify().await.unwrap().is_empty());
    for (name, order_id) in placed {
        let row = store.keys(std::slice::from_ref(&name)).await.unwrap().remove(0).unwrap();
        assert_eq!(row.claim.order_id, order_id);
    }
}

/// Places orders, one key after the other, and answers what it placed or found placed. Notices are told at once.
async fn place_until<B: Tables>(
    mut store: Store<B>,
    side: usize,
    stopped: watch::Receiver<bool>,
) -> Placed {
    let mut placed = Placed::new();
    let mut number = 0;
    while !*stopped.borrow() {
        number += 1;
        let name = (account(1 + side as i64), key(&format!("{number}")));
        let wanted = new_claim(&amount(name.0.get(), name.1.as_str(), "10"));
        let claimed = store.claim(std::slice::from_ref(&wanted)).await.unwrap().remove(0);
        if let Claimed::Mine(claim) = claimed {
            let decided = store.decide(&[settlement(&claim, Verdict::Reserved)]).await.unwrap();
            let notices: Vec<_> = decided.into_iter().filter_map(|it| it.notice).collect();
            store.finish_notices(&notices).await.unwrap();
        }
        // Also where claims went elsewhere meanwhile: then there may be no row at all.
        if let Some(row) = store.keys(std::slice::from_ref(&name)).await.unwrap().remove(0) {
            placed.insert(name, row.claim.order_id);
        }
    }
    placed
}

async fn what_is_left_on_the_way_back_is_told<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let to = |goal| Command::Move { goal, limit: Duration::ZERO };
    let run = |command| layout::run(place.store::<B>(LONG), command, Duration::ZERO);
    run(to(Layout::Orders)).await.unwrap();
    let undecided = claim(&mut store, &amount(1, "undecided", "10")).await;
    let refused = claim(&mut store, &amount(1, "refused", "10")).await;
    store.decide(&[settlement(&refused, Verdict::GaveUp)]).await.unwrap();

    let left = run(to(Layout::Keys)).await.unwrap_err().to_string();
    assert!(
        left.contains("1 orders are undecided, 1 notices are not told and 1 refusals"),
        "{left}"
    );

    // Decided after all, and told.
    let settled = store.decide(&[settlement(&undecided, Verdict::Reserved)]).await.unwrap();
    let told: Vec<_> = settled.into_iter().filter_map(|it| it.notice).collect();
    store.finish_notices(&told).await.unwrap();
    let orders = Arc::new([(account(1), undecided.order_id)]);
    let before = store.orders(&*orders).await.unwrap();
    run(to(Layout::Keys)).await.unwrap_err();
    assert_eq!(store.orders(&*orders).await.unwrap(), before, "its payment has moved");
    assert!(store.verify().await.unwrap().is_empty());
}
