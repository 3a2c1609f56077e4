//! Currencies and the declines that they cause, as they are stored.

use account_service::{audit::audit, ledger::Refusal};

use crate::{
    commands::{currency, money, open_in, release, reserve, reserve_in},
    on_both,
    support::Fresh,
};

on_both!(a_decline_comes_back_with_its_cause,);

async fn a_decline_comes_back_with_its_cause<B: Fresh>() {
    let place = B::fresh().await;
    let batch = [
        open_in(currency("EUR"), 1, money("10")),
        reserve_in("USD", 1, "dollars", "1"),
        reserve_in("EUR", 1, "fine", "0.001"),
        reserve_in("EUR", 1, "much", "11"),
    ];
    let declined = [
        Err(Refusal::CurrencyMismatch),
        Err(Refusal::AmountPrecision),
        Err(Refusal::InsufficientFunds),
    ];
    // Decided now, read from the table by another store, and asked without a currency as the version before does.
    assert_eq!(place.store().apply(&batch).await.unwrap()[1..], declined);
    assert_eq!(place.store().apply(&batch).await.unwrap()[1..], declined);
    let again = [reserve(1, "dollars", "1"), reserve(1, "fine", "0.001"), reserve(1, "much", "11")];
    assert_eq!(place.store().apply(&again).await.unwrap(), declined);

    let freed = place.store().apply(&[release(1, "dollars")]).await.unwrap();
    assert!(freed[0].as_ref().unwrap().replayed);
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies.contains_key("EUR"), "{report:?}");
}

/// What the version before selects of a reservation, and all that it knows of `decline`.
#[tokio::test]
async fn a_pod_of_the_version_before_reads_every_decline_as_one_that_it_knows() {
    use sqlx::{Connection, PgConnection, Row, SqliteConnection};

    const READ: &str = "SELECT state, decline FROM reservations ORDER BY reserve_id";
    let batch = [
        open_in(currency("EUR"), 1, money("10")),
        reserve_in("USD", 1, "dollars", "1"),
        reserve_in("EUR", 1, "fine", "0.001"),
    ];

    let place = database::Sqlite::fresh().await;
    place.store().apply(&batch).await.unwrap();
    let mut connection = SqliteConnection::connect_with(&place.options).await.unwrap();
    for row in sqlx::query(READ).fetch_all(&mut connection).await.unwrap() {
        let read: (String, String) = (row.get("state"), row.get("decline"));
        assert_eq!(read, ("DECLINED".into(), "INSUFFICIENT_FUNDS".into()));
    }

    let place = database::Postgres::fresh().await;
    place.store().apply(&batch).await.unwrap();
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    let rows = sqlx::query(READ).fetch_all(&mut connection).await.unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let read: (String, String) = (row.get("state"), row.get("decline"));
        assert_eq!(read, ("DECLINED".into(), "INSUFFICIENT_FUNDS".into()));
    }
}
