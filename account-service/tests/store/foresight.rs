//! Reservations that are to be made are not looked for, and yet nothing is made twice or answered otherwise.

use std::time::{Duration, Instant};

use account_service::{audit::audit, ledger::Refusal};
use database::Postgres;
use sqlx::{Connection, PgConnection};

use crate::{
    commands::{capture, deposit, open, release, reserve, reserve_for},
    on_both,
    support::Fresh,
};

/// Of this database, once nobody else is connected to it.
const ROLLBACKS: &str = "
    SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database() AND NOT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())";

on_both!(whatever_was_there_before_a_reserve_is_met_by_a_store_that_did_not_look);

async fn whatever_was_there_before_a_reserve_is_met_by_a_store_that_did_not_look<B: Fresh>() {
    let place = B::fresh().await;
    let before = [
        open(1, "10"),
        reserve(1, "held", "1"),
        reserve(1, "captured", "1"),
        capture(1, "captured", ""),
        release(1, "gone"),
        release(7, "gone"),
        reserve_for(1, "due", "o-due", "1", 0),
        reserve(1, "declined", "100"),
        deposit(1, "d", "1000"),
    ];
    place.store().apply(&before).await.unwrap();

    // Each by a store of its own, which has no reason to look, and beside one that is new.
    let cases = [
        (reserve(1, "held", "1"), None),
        (reserve(1, "held", "2"), Some(Refusal::ReservationMismatch)),
        (reserve(1, "captured", "1"), None),
        (reserve(1, "gone", "1"), Some(Refusal::ReservationReleased)),
        (reserve(7, "gone", "1"), Some(Refusal::ReservationReleased)),
        (reserve_for(1, "due", "o-due", "1", 0), Some(Refusal::ReservationExpired)),
        (reserve(1, "declined", "100"), Some(Refusal::InsufficientFunds)),
    ];
    for (number, (again, refusal)) in cases.into_iter().enumerate() {
        let new = reserve(1, &format!("new-{number}"), "1");
        let outcomes = place.store().apply(&[new, again.clone()]).await.unwrap();
        assert!(outcomes[0].as_ref().is_ok_and(|receipt| !receipt.replayed), "{outcomes:?}");
        assert_eq!(outcomes[1].as_ref().err(), refusal.as_ref(), "{again:?}");
        assert!(outcomes[1].as_ref().is_ok_and(|receipt| receipt.replayed) || refusal.is_some());
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok && report.currencies["USD"].held == 8 * 10_000, "{report:?}");
}

#[tokio::test]
async fn a_caller_that_repeats_itself_costs_one_rollback_and_not_one_each_time() {
    const BATCHES: usize = 20;
    let place = Postgres::fresh().await;
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    let (before, began) = (rollbacks(&mut connection).await, Instant::now());
    let mut store = place.store();
    store.apply(&[open(1, "10"), reserve(1, "r", "1")]).await.unwrap();
    for _ in 0..BATCHES {
        let outcomes = store.apply(&[reserve(1, "r", "1")]).await.unwrap();
        assert!(outcomes[0].as_ref().unwrap().replayed);
    }
    drop(store);

    while rollbacks(&mut connection).await == before {
        assert!(began.elapsed() < Duration::from_secs(60), "the server was not told");
    }
    assert_eq!(rollbacks(&mut connection).await - before, 1);
}

/// Of this database. The server has been told of all once nobody else is connected.
async fn rollbacks(connection: &mut PgConnection) -> i64 {
    loop {
        let counted = sqlx::query_scalar(ROLLBACKS).fetch_optional(&mut *connection).await.unwrap();
        match counted {
            Some(rollbacks) => return rollbacks,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
