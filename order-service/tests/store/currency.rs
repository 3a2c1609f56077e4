//! What prices and orders are counted in: fixed at the claim, kept with the order, and the default where a row of the
//! version before says nothing.

use database::DatabaseUrl;
use order_service::{
    order::{
        decision::Verdict,
        key::Finding,
        request::{Request, Unpriced},
    },
    storage::{Claimed, Store},
};
use proto::Currency;
use sqlx::ConnectOptions;

use crate::{
    on_both,
    support::{
        Fresh, LONG, OTHER_FENCE, OVER, Place, account, amount, amount_in, claim, currency, decide,
        key, lines, new_claim, product, product_in,
    },
};

on_both!(
    a_product_that_is_priced_anew_in_another_currency_leaves_claims_at_the_old_price,
    an_order_keeps_its_currency_wherever_it_is_read_from,
    the_same_amount_in_another_currency_is_another_request,
    lines_that_name_no_currency_are_the_request_that_named_it,
    a_basket_without_one_currency_is_not_claimed,
    rows_of_the_version_before_are_in_the_default,
    a_request_of_the_version_before_is_recognised_by_its_digest,
);

async fn a_product_that_is_priced_anew_in_another_currency_leaves_claims_at_the_old_price<
    B: Fresh,
>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    store.put_products(&[product_in(currency("KRW"), 1, "1000", 5)]).await.unwrap();
    let first = claim(&mut store, &lines(1, "k", &[(1, 3)])).await;
    store.put_products(&[product_in(currency("EUR"), 1, "0.99", 5)]).await.unwrap();

    let left = store.overdue(1).await.unwrap().remove(0).row.claim;
    let taken = store.take_over(&[left]).await.unwrap().remove(0).unwrap();
    assert_eq!((taken.amount, taken.currency), (first.amount, currency("KRW")));
    decide(&mut store, &taken, Verdict::Reserved).await;
    let order = store.orders(&[(account(1), first.order_id)]).await.unwrap().remove(0).unwrap();
    assert_eq!((order.amount, order.currency), (first.amount, currency("KRW")));
}

async fn an_order_keeps_its_currency_wherever_it_is_read_from<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let request = amount_in(currency("BHD"), 1, "k", "1.005");
    let first = claim(&mut store, &request).await;
    decide(&mut store, &first, Verdict::Reserved).await;

    // By a service whose default is another one by now.
    let mut later = place.store_in::<B>(LONG, currency("JPY"));
    let name = (account(1), first.order_id);
    let read = later.orders(&[name]).await.unwrap().remove(0).unwrap();
    let listed = later.list_orders(&[(account(1), None, 9)]).await.unwrap().remove(0).remove(0);
    let cancelled = later.cancel(&[name.into()]).await.unwrap().remove(0).unwrap().order;
    let row = later.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    run(&place, "DELETE FROM idempotency_keys").await;
    let from_order = later.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();

    let orders = [read.currency, listed.currency, cancelled.currency];
    let keys = [row.claim.currency, from_order.claim.currency];
    assert!(orders.iter().chain(&keys).all(|read| *read == currency("BHD")), "{orders:?} {keys:?}");
    assert!(row.is_of(&request) && from_order.is_of(&request));
}

async fn the_same_amount_in_another_currency_is_another_request<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let first = claim(&mut store, &amount_in(currency("EUR"), 1, "k", "10")).await;
    let judged = async |store: &mut Store<B>, request: &Request| {
        let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
        row.judge(request, OTHER_FENCE)
    };
    let [same, other] = ["EUR", "USD"].map(|code| amount_in(currency(code), 1, "k", "10"));
    assert_eq!(judged(&mut store, &same).await, Finding::Running);
    assert_eq!(judged(&mut store, &other).await, Finding::Reused);

    decide(&mut store, &first, Verdict::Reserved).await;
    run(&place, "DELETE FROM idempotency_keys").await;
    assert!(matches!(judged(&mut store, &same).await, Finding::Decided(_)));
    assert_eq!(judged(&mut store, &other).await, Finding::Reused);
}

async fn lines_that_name_no_currency_are_the_request_that_named_it<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product_in(currency("EUR"), 1, "5", 9)]).await.unwrap();
    let unnamed = lines(1, "k", &[(1, 1)]);
    let named = |code| Request { currency: Some(currency(code)), ..unnamed.clone() };
    claim(&mut store, &named("EUR")).await;
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.judge(&unnamed, OTHER_FENCE), Finding::Running);
    assert_eq!(row.judge(&named("EUR"), OTHER_FENCE), Finding::Running);
    assert_eq!(row.judge(&named("USD"), OTHER_FENCE), Finding::Reused);
}

async fn a_basket_without_one_currency_is_not_claimed<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let euro = currency("EUR");
    store.put_products(&[product(1, "1", 9), product_in(euro, 2, "1", 9)]).await.unwrap();
    let wanted = [
        lines(1, "mixed", &[(1, 1), (2, 1)]),
        Request { currency: Some(Currency::USD), ..lines(1, "other", &[(2, 1)]) },
        amount_in(currency("KRW"), 1, "fine", "0.0001"),
    ];
    let answers = store.claim(&wanted.each_ref().map(new_claim)).await.unwrap();
    let product = product(2, "1", 9).product_id;
    let unpriced = [
        Unpriced::MixedCurrencies(product),
        Unpriced::OtherCurrency(euro),
        Unpriced::TooFine(currency("KRW")),
    ];
    assert_eq!(answers, unpriced.map(Claimed::Unpriced));
}

async fn rows_of_the_version_before_are_in_the_default<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "5", 9)]).await.unwrap();
    let first = claim(&mut store, &lines(1, "k", &[(1, 1)])).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    claim(&mut store, &amount(1, "running", "5")).await;
    for statement in [
        "UPDATE products SET currency = NULL",
        "UPDATE orders SET currency = NULL",
        "UPDATE idempotency_keys SET currency = NULL",
    ] {
        run(&place, statement).await;
    }

    for default in [Currency::USD, currency("EUR")] {
        let mut store = place.store_in::<B>(LONG, default);
        let product = store.products(&[product(1, "5", 9).product_id]).await.unwrap().remove(0);
        assert_eq!(product.unwrap().currency, default);
        let order = store.orders(&[(account(1), first.order_id)]).await.unwrap().remove(0);
        assert_eq!(order.unwrap().currency, default);
        let names = ["k", "running"].map(|text| (account(1), key(text)));
        for row in store.keys(&names).await.unwrap() {
            assert_eq!(row.unwrap().claim.currency, default);
        }
        let text = format!("in {default}");
        let priced = claim(&mut store, &lines(1, &text, &[(1, 1)])).await;
        assert_eq!(priced.currency, default);
    }
}

/// A key that was placed before amounts had to fit their currency is replayed, though it could not be placed now.
async fn a_request_of_the_version_before_is_recognised_by_its_digest<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    // Four decimal places and no currency: this is what the version before stored for 10.0001.
    let old = amount_in(currency("XAU"), 1, "k", "10.0001");
    let first = claim(&mut store, &old).await;
    decide(&mut store, &first, Verdict::Reserved).await;
    run(&place, "UPDATE idempotency_keys SET currency = NULL").await;
    run(&place, "UPDATE orders SET currency = NULL").await;

    let again = amount(1, "k", "10.0001");
    for statement in ["SELECT 1", "DELETE FROM idempotency_keys"] {
        run(&place, statement).await;
        let answers = store.claim(&[new_claim(&again)]).await.unwrap();
        assert_eq!(answers, [Claimed::Unpriced(Unpriced::TooFine(Currency::USD))]);
        let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
        assert!(matches!(row.judge(&again, OTHER_FENCE), Finding::Decided(_)));
        assert_eq!(row.claim.order_id, first.order_id);
    }
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
