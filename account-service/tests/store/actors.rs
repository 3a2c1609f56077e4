//! Who asked for a deposit or a refund is kept with the row, and changes nothing else.

use account_service::ledger::{Command, Outcome, Refusal};
use proto::id::Actor;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::{
    commands::{capture, deposit, open, refund, reserve},
    on_both,
    support::{Fresh, Place},
};

on_both!(a_deposit_and_a_refund_keep_who_asked_first, a_row_of_the_version_before_has_nobody,);

const DEPOSITORS: &str = "SELECT deposited_by FROM deposits ORDER BY deposit_id";
const REFUNDERS: &str = "SELECT refunded_by FROM refunds ORDER BY refund_id";

fn by(name: &str, command: Command) -> Command {
    command.asked_by(Some(Actor::new(name)))
}

async fn column<B: Fresh>(place: &Place<B>, sql: &'static str) -> Vec<Option<String>> {
    if place.url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
    } else {
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
    }
}

async fn execute<B: Fresh>(place: &Place<B>, sql: &'static str) {
    if place.url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

fn replayed(outcome: &Outcome) -> Result<bool, Refusal> {
    outcome.as_ref().map(|receipt| receipt.replayed).map_err(|refusal| *refusal)
}

async fn a_deposit_and_a_refund_keep_who_asked_first<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let batch = [
        open(1, "100"),
        by("token:alice", deposit(1, "d1", "5")),
        // In the same batch, and the same request but for who asks.
        by("token:bob", deposit(1, "d1", "5")),
        deposit(1, "d2", "5"),
        reserve(1, "r", "10"),
        capture(1, "r", ""),
        by("certificate:spiffe://shop/orders", refund(1, "r", "f1", "4")),
        refund(1, "r", "f2", ""),
    ];
    store.apply(&batch).await.unwrap();
    let again = [
        by("token:bob", deposit(1, "d1", "5")),
        by("token:bob", refund(1, "r", "f1", "4")),
        by("token:bob", refund(1, "r", "f2", "")),
    ];
    let again = place.store().apply(&again).await.unwrap();
    assert_eq!(again.iter().map(replayed).collect::<Vec<_>>(), [Ok(true); 3]);

    assert_eq!(column(&place, DEPOSITORS).await, [Some("token:alice".into()), None]);
    let orders = Some("certificate:spiffe://shop/orders".into());
    assert_eq!(column(&place, REFUNDERS).await, [orders, None]);
    let report = account_service::audit::audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok, "{report:?}");
}

async fn a_row_of_the_version_before_has_nobody<B: Fresh>() {
    let place = B::fresh().await;
    place.store().apply(&[open(1, "100")]).await.unwrap();
    // As that version writes it, on tables that have the column already.
    execute(
        &place,
        "INSERT INTO deposits (account_id, deposit_id, amount, created_at)
         SELECT account_id, 'before', 5, created_at FROM accounts",
    )
    .await;
    assert_eq!(column(&place, DEPOSITORS).await, [None]);
}
