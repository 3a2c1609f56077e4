//! Deciding keys.

use database::DatabaseUrl;
use order_service::order::{
    Action,
    decision::Verdict,
    key::{Claim, Decided, Finding, KeyState, Outcome},
    request::Unpriced,
};
use order_service::storage::{Claimed, NewClaim, Store, Tables};
use proto::id::ProductId;
use sqlx::ConnectOptions;
use tokio::task::JoinSet;

use crate::{
    on_both, on_both_with_keys_apart,
    support::{
        Fresh, LONG, OTHER_FENCE, OVER, Place, account, amount, claim, decide, key, lines,
        new_claim, product, settlement,
    },
};

on_both_with_keys_apart!(
    a_claim_whose_own_order_lives_leaves_its_money_alone,
    a_refused_key_that_was_dropped_is_free,
    bug_10_a_claim_that_missed_the_keys_order_is_not_refused,
    bug_10_a_claim_that_missed_the_keys_order_is_restored_from_it,
);

on_both!(
    a_reserved_order_is_placed_with_payment_and_capture,
    bug_1_a_worker_that_was_overtaken_writes_nothing,
    bug_6_a_decline_is_remembered,
    bug_10_a_key_that_was_dropped_answers_from_its_order,
    a_dropped_key_without_a_price_by_now_answers_from_its_order_too,
    bug_15_a_replay_is_the_first_answer_whatever_was_cancelled_since,
    sold_out_is_final_and_gives_the_money_back,
    stock_is_never_oversold_from_many_sides,
    a_batch_with_an_overtaken_worker_decides_the_others,
    giving_up_is_final_and_gives_the_money_back,
    deciding_twice_decides_once,
);

async fn decided<B: Fresh>(place: &Place, text: &str) -> Decided {
    let row = place.store::<B>(LONG).keys(&[(account(1), key(text))]).await.unwrap().remove(0);
    match row.unwrap().state {
        KeyState::Decided(decided) => decided,
        KeyState::Running { .. } => panic!("key {text} is not decided"),
    }
}

async fn a_reserved_order_is_placed_with_payment_and_capture<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5), product(2, "0.5", 5)]).await.unwrap();
    let claim = claim(&mut store, &lines(1, "k", &[(2, 1), (1, 3)])).await;
    let settled = decide(&mut store, &claim, Verdict::Reserved).await;
    let decided = settled.decided.unwrap();
    let Outcome::Placed { payment_id } = decided.outcome else { panic!("{decided:?}") };
    let order = store.orders(&[(account(1), claim.order_id)]).await.unwrap().remove(0).unwrap();
    assert_eq!(order, claim.order(payment_id, decided.at));
    assert_eq!(order.amount.to_string(), "30.5");
    let notice = settled.notice.unwrap();
    assert_eq!((notice.action, notice.order_id), (Action::Capture, claim.order_id));
    let ids = [1, 2].map(|id| ProductId::new(id).unwrap());
    let stock = store.products(&ids).await.unwrap().into_iter().map(|p| p.unwrap().stock);
    assert_eq!(stock.collect::<Vec<_>>(), [2, 4]);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn bug_1_a_worker_that_was_overtaken_writes_nothing<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let zombie = claim(&mut store, &lines(1, "k", &[(1, 1)])).await;
    let taken = store.take_over(std::slice::from_ref(&zombie)).await.unwrap().remove(0).unwrap();
    for verdict in [
        Verdict::Reserved,
        Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() },
        Verdict::GaveUp,
    ] {
        let fenced = decide(&mut store, &zombie, verdict).await;
        assert_eq!((fenced.decided, fenced.notice), (None, None));
    }
    assert_eq!(store.orders(&[(account(1), zombie.order_id)]).await.unwrap(), [None]);
    assert!(decide(&mut store, &taken, Verdict::Reserved).await.decided.is_some());
    // And once more, after the decision.
    assert_eq!(decide(&mut store, &zombie, Verdict::Reserved).await.decided, None);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn bug_6_a_decline_is_remembered<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    let cause = "INSUFFICIENT_FUNDS".to_owned();
    let settled = decide(&mut store, &claim, Verdict::Declined { cause: cause.clone() }).await;
    assert_eq!(settled.notice, None);
    assert_eq!(decided::<B>(&place, "k").await, settled.decided.unwrap());
    assert_eq!(decided::<B>(&place, "k").await.outcome, Outcome::Declined { cause });
    assert_eq!(decide(&mut store, &claim, Verdict::Reserved).await.decided, None);
}

/// Whoever asks then: the key's own request is told of its order, any other that the key is not its, and neither runs.
async fn bug_10_a_key_that_was_dropped_answers_from_its_order<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let (own, other) = (lines(1, "k", &[(1, 1)]), amount(1, "k", "10"));
    let first = claim(&mut store, &own).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    let before = decided::<B>(&place, "k").await;
    forget_keys(&place).await;
    store.put_products(&[product(1, "77", 4)]).await.unwrap();

    for request in [&other, &own, &other] {
        let answers = store.claim(&[new_claim(request)]).await.unwrap();
        assert_eq!(answers, [Claimed::Taken]);
    }
    // Beside one that is free, and one that is in its place.
    claim(&mut store, &amount(1, "l", "10")).await;
    let names = ["free", "k", "l"].map(|text| (account(1), key(text)));
    let rows = store.keys(&names).await.unwrap();
    let [None, Some(row), Some(_)] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.claim.order_id, row.claim.amount), (first.order_id, first.amount));
    assert_eq!(row.state, KeyState::Decided(before.clone()));
    assert_eq!(row.judge(&other, OTHER_FENCE), Finding::Reused);
    assert_eq!(row.judge(&own, OTHER_FENCE), Finding::Decided(before));
    assert!(store.verify().await.unwrap().is_empty());
}

async fn a_dropped_key_without_a_price_by_now_answers_from_its_order_too<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let request = lines(1, "k", &[(1, 2)]);
    let first = claim(&mut store, &request).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    let before = decided::<B>(&place, "k").await;
    forget_keys(&place).await;
    store.put_products(&[product(1, "100000000000000", 4)]).await.unwrap();
    let answers = store.claim(&[new_claim(&request)]).await.unwrap();
    assert_eq!(answers, [Claimed::Unpriced(Unpriced::TooLarge)]);
    assert_eq!(decided::<B>(&place, "k").await, before);
}

/// A refusal is kept as long as its key, and no longer.
async fn a_refused_key_that_was_dropped_is_free<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let first = claim(&mut store, &amount(1, "k", "10")).await;
    decide(&mut store, &first, Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() }).await;
    forget_keys(&place).await;
    claim(&mut store, &amount(1, "k", "11")).await;
}

async fn bug_10_a_claim_that_missed_the_keys_order_is_restored_from_it<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let request = lines(1, "k", &[(1, 1)]);
    let first = claim(&mut store, &request).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    let before = decided::<B>(&place, "k").await;
    store.put_products(&[product(1, "77", 4)]).await.unwrap();

    let second = claim_missing_the_order(&place, &mut store, &new_claim(&request)).await;
    assert_ne!(first.order_id, second.order_id);
    let settled = decide(&mut store, &second, Verdict::Reserved).await;
    assert_eq!(settled.decided, None);
    let notice = settled.notice.unwrap();
    assert_eq!((notice.action, notice.order_id), (Action::Release, second.order_id));
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.claim.order_id, first.order_id);
    assert_eq!(row.claim.amount, first.amount);
    assert_eq!(row.state, KeyState::Decided(before));
    assert_eq!(store.list_orders(&[(account(1), None, 9)]).await.unwrap()[0].len(), 1);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn bug_10_a_claim_that_missed_the_keys_order_is_not_refused<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 1)]).await.unwrap();
    let request = lines(1, "k", &[(1, 1)]);
    let first = claim(&mut store, &request).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    let before = decided::<B>(&place, "k").await;
    // The order took the last piece and perhaps the last money.
    let declined = Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() };
    for (verdict, action) in [
        (declined, None),
        (Verdict::GaveUp, Some(Action::Release)),
        (Verdict::Reserved, Some(Action::Release)),
    ] {
        let again = claim_missing_the_order(&place, &mut store, &new_claim(&request)).await;
        let settled = decide(&mut store, &again, verdict.clone()).await;
        assert_eq!(settled.decided, None, "{verdict:?}");
        assert_eq!(settled.notice.map(|notice| notice.action), action, "{verdict:?}");
        assert_eq!(decided::<B>(&place, "k").await, before, "{verdict:?}");
    }
    assert!(store.verify().await.unwrap().is_empty());
}

async fn a_claim_whose_own_order_lives_leaves_its_money_alone<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let wanted = new_claim(&amount(1, "k", "10"));
    for round in 0..2 {
        let claim = claim_missing_the_order(&place, &mut store, &wanted).await;
        let settled = decide(&mut store, &claim, Verdict::Reserved).await;
        let action = settled.notice.map(|notice| notice.action);
        assert_eq!(action, (round == 0).then_some(Action::Capture));
    }
}

/// Claims a key whose row is gone without meeting its order, as only clocks that play tricks bring about.
async fn claim_missing_the_order<B: Tables>(
    place: &Place,
    store: &mut Store<B>,
    wanted: &NewClaim,
) -> Claim {
    forget_keys(place).await;
    run(place, "UPDATE orders SET idempotency_key = 'elsewhere' WHERE idempotency_key = 'k'").await;
    let claimed = store.claim(std::slice::from_ref(wanted)).await.unwrap().remove(0);
    run(place, "UPDATE orders SET idempotency_key = 'k' WHERE idempotency_key = 'elsewhere'").await;
    match claimed {
        Claimed::Mine(claim) => claim,
        Claimed::Taken | Claimed::Unpriced(_) => panic!("{claimed:?}"),
    }
}

/// What retention does, all at once.
async fn forget_keys(place: &Place) {
    run(place, "DELETE FROM idempotency_keys").await;
}

async fn run(place: &Place, sql: &'static str) {
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            let mut connection = address.connect().await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = database::Sqlite::options(path).connect().await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
        }
    }
}

async fn bug_15_a_replay_is_the_first_answer_whatever_was_cancelled_since<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    let first = decide(&mut store, &claim, Verdict::Reserved).await.decided.unwrap();
    store.cancel(&[(account(1), claim.order_id).into()]).await.unwrap();
    assert_eq!(decided::<B>(&place, "k").await, first);
}

async fn sold_out_is_final_and_gives_the_money_back<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5), product(2, "10", 1)]).await.unwrap();
    let claim = claim(&mut store, &lines(1, "k", &[(1, 1), (2, 2)])).await;
    let settled = decide(&mut store, &claim, Verdict::Reserved).await;
    let product_id = ProductId::new(2).unwrap();
    assert_eq!(settled.decided.as_ref().unwrap().outcome, Outcome::OutOfStock { product_id });
    assert_eq!(settled.notice.unwrap().action, Action::Release);
    assert_eq!(decided::<B>(&place, "k").await, settled.decided.unwrap());
    let stock = store.products(&[ProductId::new(1).unwrap()]).await.unwrap().remove(0).unwrap();
    assert_eq!(stock.stock, 5);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn stock_is_never_oversold_from_many_sides<B: Fresh>() {
    let place = B::fresh().await;
    place
        .store::<B>(LONG)
        .put_products(&[product(1, "1", 10), product(2, "1", 100)])
        .await
        .unwrap();
    let mut sides = JoinSet::new();
    for side in 0..6 {
        let mut store = place.store::<B>(LONG);
        sides.spawn(async move {
            let mut settlements = Vec::new();
            for n in 0..5 {
                let both = if side % 2 == 0 { [(1, 1), (2, 1)] } else { [(2, 1), (1, 1)] };
                let request = lines(side + 1, &format!("{n}"), &both);
                settlements.push(settlement(&claim(&mut store, &request).await, Verdict::Reserved));
            }
            store.decide(&settlements).await.unwrap()
        });
    }
    let settled = sides.join_all().await;
    let outcomes = settled.iter().flatten().map(|s| &s.decided.as_ref().unwrap().outcome);
    let placed = outcomes.filter(|outcome| matches!(outcome, Outcome::Placed { .. })).count();
    assert_eq!(placed, 10);
    assert!(place.store::<B>(LONG).verify().await.unwrap().is_empty());
}

async fn a_batch_with_an_overtaken_worker_decides_the_others<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    let zombie = claim(&mut store, &amount(1, "a", "10")).await;
    store.take_over(std::slice::from_ref(&zombie)).await.unwrap();
    let good = claim(&mut store, &amount(1, "b", "10")).await;
    let poor = claim(&mut store, &amount(1, "c", "10")).await;
    let declined = Verdict::Declined { cause: "INSUFFICIENT_FUNDS".into() };
    let batch = [
        settlement(&zombie, Verdict::Reserved),
        settlement(&good, Verdict::Reserved),
        settlement(&poor, declined),
    ];
    let settled = store.decide(&batch).await.unwrap();
    assert_eq!(settled[0].decided, None);
    assert!(matches!(settled[1].decided.as_ref().unwrap().outcome, Outcome::Placed { .. }));
    assert!(matches!(settled[2].decided.as_ref().unwrap().outcome, Outcome::Declined { .. }));
    assert!(store.verify().await.unwrap().is_empty());
}

async fn giving_up_is_final_and_gives_the_money_back<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    let settled = decide(&mut store, &claim, Verdict::GaveUp).await;
    assert!(matches!(settled.decided.unwrap().outcome, Outcome::Declined { .. }));
    assert_eq!(settled.notice.unwrap().action, Action::Release);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn deciding_twice_decides_once<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    assert!(decide(&mut store, &claim, Verdict::Reserved).await.decided.is_some());
    let again = decide(&mut store, &claim, Verdict::Reserved).await;
    assert_eq!((again.decided, again.notice), (None, None));
    assert_eq!(store.list_orders(&[(account(1), None, 9)]).await.unwrap()[0].len(), 1);
}
