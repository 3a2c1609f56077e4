//! The days of the key table.

use database::DatabaseUrl;
use order_service::{
    order::decision::Verdict,
    storage::{Claimed, Store, postgres::PostgresStore, sqlite::SqliteStore},
};
use sqlx::{ConnectOptions, PgConnection, SqliteConnection};

use crate::support::{Fresh, LONG, Place, account, amount, claim, key, new_claim, settle};

async fn connect(place: &Place) -> PgConnection {
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    address.connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

async fn days(connection: &mut PgConnection) -> Vec<i32> {
    let query = "
        SELECT to_date(right(relname, 8), 'YYYYMMDD') - (now() AT TIME ZONE 'UTC')::date
        FROM pg_class WHERE relname ~ '^idempotency_keys_\\d{8}$' ORDER BY 1";
    sqlx::query_scalar(query).fetch_all(connection).await.unwrap()
}

/// Moves all keys to a partition of an earlier day, as if they had been claimed then.
const MOVE_TO_YESTERDAY: &str = "
    UPDATE idempotency_keys SET day = day - 1, created_at = created_at - interval '1 day'";

const MOVE_TO_LAST_WEEK: &str = "
    DO $$ DECLARE last date := (now() AT TIME ZONE 'UTC')::date - 7; BEGIN
        EXECUTE format(
            'CREATE TABLE idempotency_keys_%s PARTITION OF idempotency_keys FOR VALUES FROM (%L) TO (%L)',
            to_char(last, 'YYYYMMDD'), last, last + 1
        );
        UPDATE idempotency_keys SET day = last;
    END $$";

#[tokio::test]
async fn partitions_are_made_ahead() {
    let place = PostgresStore::fresh().await;
    assert_eq!(days(&mut connect(&place).await).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn a_key_of_yesterday_is_still_taken() {
    let place = PostgresStore::fresh().await;
    let mut store = place.store::<PostgresStore>(LONG);
    let request = amount(1, "k", "10");
    let first = claim(&mut store, &request).await;
    run(&mut connect(&place).await, MOVE_TO_YESTERDAY).await;
    let again = store.claim(&[new_claim(&request)]).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken);
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.claim.order_id, first.order_id);
    // And it is worked on where it is.
    assert!(settle(&mut store, &row.claim, Verdict::Reserved).await.decided.is_some());
}

#[tokio::test]
async fn an_old_partition_goes_when_all_its_keys_are_decided_and_not_before() {
    let place = PostgresStore::fresh().await;
    let mut store = place.store::<PostgresStore>(LONG);
    let undecided = claim(&mut store, &amount(1, "k", "10")).await;
    let mut connection = connect(&place).await;
    run(&mut connection, MOVE_TO_LAST_WEEK).await;
    assert_eq!(store.keep_keys().await.unwrap(), 0);
    assert_eq!(days(&mut connection).await.first(), Some(&-7));
    let day = undecided.day - time::Duration::days(7);
    let undecided = order_service::order::key::Claim { day, ..undecided };
    assert!(settle(&mut store, &undecided, Verdict::Reserved).await.decided.is_some());
    assert_eq!(store.keep_keys().await.unwrap(), 1);
    assert_eq!(days(&mut connection).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn two_processes_may_keep_the_key_table_at_once() {
    let place = PostgresStore::empty().await;
    let keep = |mut store: PostgresStore| async move { store.migrate().await };
    let stores = [place.store(LONG), place.store(LONG), place.store(LONG)];
    for kept in futures_util::future::join_all(stores.map(keep)).await {
        kept.unwrap();
    }
    assert_eq!(days(&mut connect(&place).await).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn on_sqlite_old_decided_keys_are_pruned_and_others_kept() {
    let place = SqliteStore::fresh().await;
    let mut store = place.store::<SqliteStore>(LONG);
    let old = claim(&mut store, &amount(1, "old", "10")).await;
    settle(&mut store, &old, Verdict::Reserved).await;
    claim(&mut store, &amount(1, "undecided", "10")).await;
    age_by_days(&place, 3).await;
    let new = claim(&mut store, &amount(1, "new", "10")).await;
    settle(&mut store, &new, Verdict::Reserved).await;
    assert_eq!(store.keep_keys().await.unwrap(), 1);
    let names = ["old", "undecided", "new"].map(|text| (account(1), key(text)));
    let left = store.keys(&names).await.unwrap();
    // The old one's order speaks for it now.
    let fences = left.iter().map(|row| row.as_ref().unwrap().claim.fence);
    assert_eq!(fences.collect::<Vec<_>>(), [0, 1, 1]);
}

async fn age_by_days(place: &Place, days: i64) {
    let DatabaseUrl::Sqlite(path) = &place.url else { unreachable!("a SQLite test") };
    let mut connection: SqliteConnection = database::Sqlite::options(path).connect().await.unwrap();
    let age =
        "UPDATE idempotency_keys SET created_at = created_at - ?1, decided_at = decided_at - ?1";
    let micros = days * 24 * 60 * 60 * 1_000_000;
    sqlx::query(age).bind(micros).execute(&mut connection).await.unwrap();
}
