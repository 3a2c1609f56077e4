//! Who cancelled an order or adjusted stock is kept with the row, and changes nothing else.

use database::{DatabaseUrl, Sqlite};
use order_service::{
    order::{
        catalog::{Adjusted, Adjustment},
        decision::Verdict,
    },
    storage::NewCancel,
};
use proto::id::{Actor, AdjustmentId, ProductId};
use sqlx::ConnectOptions;

use crate::{
    on_both,
    support::{Fresh, LONG, Place, account, claim, decide, lines, product},
};

on_both!(who_cancelled_first_is_kept, who_adjusted_first_is_kept);

const CANCELLERS: &str = "SELECT cancelled_by FROM orders ORDER BY idempotency_key";
const ADJUSTERS: &str = "SELECT adjusted_by FROM stock_adjustments ORDER BY adjustment_id";

async fn column(place: &Place, sql: &'static str) -> Vec<Option<String>> {
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            let mut connection = address.connect().await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = Sqlite::options(path).connect().await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        }
    }
}

fn actor(name: &str) -> Option<Actor> {
    Some(Actor::new(name))
}

async fn who_cancelled_first_is_kept<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 9)]).await.unwrap();
    let mut orders = Vec::new();
    for key in ["a", "b", "c"] {
        let claim = claim(&mut store, &lines(1, key, &[(1, 2)])).await;
        decide(&mut store, &claim, Verdict::Reserved).await;
        orders.push(NewCancel::from((account(1), claim.order_id)));
    }
    let signed = |at: usize, name| NewCancel { by: actor(name), ..orders[at].clone() };
    // In one batch twice, and once more later.
    let batch = [signed(0, "token:alice"), signed(0, "token:bob"), orders[1].clone()];
    store.cancel(&batch).await.unwrap();
    let again = [signed(0, "token:bob"), signed(1, "token:bob")];
    for cancelled in place.store::<B>(LONG).cancel(&again).await.unwrap() {
        let cancelled = cancelled.unwrap();
        assert!(cancelled.order.cancelled && cancelled.notice.is_none());
    }

    assert_eq!(column(&place, CANCELLERS).await, [Some("token:alice".into()), None, None]);
    assert!(store.verify().await.unwrap().is_empty());
}

async fn who_adjusted_first_is_kept<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    let adjustment = |id: &str, by| Adjustment {
        product_id: ProductId::new(1).unwrap(),
        adjustment_id: AdjustmentId::new(id).unwrap(),
        delta: 2,
        by,
    };
    let batch = [
        adjustment("a", actor("token:alice")),
        adjustment("a", actor("token:bob")),
        adjustment("b", None),
    ];
    let adjusted = store.adjust_stock(&batch).await.unwrap();
    assert!(matches!(adjusted[1], Adjusted::Replayed(_)), "{adjusted:?}");
    assert_eq!(column(&place, ADJUSTERS).await, [Some("token:alice".into()), None]);
    assert!(store.verify().await.unwrap().is_empty());
}
