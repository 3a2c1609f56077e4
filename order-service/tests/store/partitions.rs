//! The days of the key table.

use std::time::Duration;

use database::{DatabaseUrl, Postgres, Sqlite};
use order_service::{
    order::decision::Verdict,
    storage::{Claimed, KeyLifetime, Leases, Store},
};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, SqliteConnection};

use crate::support::{Fresh, LONG, Place, account, amount, claim, decide, key, new_claim};

async fn connect(place: &Place) -> PgConnection {
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    address.connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
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

/// Moves all keys to a partition of so many days ago.
fn move_to(days_ago: i64) -> String {
    format!(
        "DO $$ DECLARE moved date := (now() AT TIME ZONE 'UTC')::date - {days_ago}; BEGIN
            EXECUTE format(
                'CREATE TABLE IF NOT EXISTS idempotency_keys_%s PARTITION OF idempotency_keys FOR VALUES FROM (%L) TO (%L)',
                to_char(moved, 'YYYYMMDD'), moved, moved + 1
            );
            UPDATE idempotency_keys SET day = moved;
        END $$"
    )
}

fn lifetime(days: u64) -> Leases {
    let time = Duration::from_secs(days * 24 * 60 * 60);
    Leases { key_lifetime: KeyLifetime::of(time).unwrap(), ..LONG }
}

fn declined() -> Verdict {
    Verdict::Declined { cause: "INSUFFICIENT_FUNDS".to_owned() }
}

#[tokio::test]
async fn partitions_are_made_ahead() {
    let place = Postgres::fresh().await;
    assert_eq!(days(&mut connect(&place).await).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn a_key_of_yesterday_is_still_taken() {
    let place = Postgres::fresh().await;
    let mut store = place.store::<Postgres>(LONG);
    let request = amount(1, "k", "10");
    let first = claim(&mut store, &request).await;
    run(&mut connect(&place).await, MOVE_TO_YESTERDAY).await;
    let again = store.claim(&[new_claim(&request)]).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken);
    let row = store.keys(&[(account(1), key("k"))]).await.unwrap().remove(0).unwrap();
    assert_eq!(row.claim.order_id, first.order_id);
    // And it is worked on where it is.
    assert!(decide(&mut store, &row.claim, Verdict::Reserved).await.decided.is_some());
}

#[tokio::test]
async fn an_old_partition_goes_when_all_its_keys_are_decided_and_not_before() {
    let place = Postgres::fresh().await;
    let mut store = place.store::<Postgres>(LONG);
    let undecided = claim(&mut store, &amount(1, "k", "10")).await;
    let mut connection = connect(&place).await;
    run(&mut connection, &move_to(7)).await;
    assert_eq!(store.keep_keys().await.unwrap(), 0);
    assert_eq!(days(&mut connection).await.first(), Some(&-7));
    let day = undecided.day - time::Duration::days(7);
    let undecided = order_service::order::key::Claim { day, ..undecided };
    assert!(decide(&mut store, &undecided, Verdict::Reserved).await.decided.is_some());
    assert_eq!(store.keep_keys().await.unwrap(), 1);
    assert_eq!(days(&mut connection).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn orders_are_placed_while_their_index_is_built() {
    let place = Postgres::fresh().await;
    let mut store = place.store::<Postgres>(LONG);
    let mut connection = connect(&place).await;
    run(&mut connection, "DROP INDEX orders_by_age").await;
    // The build has to wait for this one.
    let mut other = connect(&place).await;
    run(&mut other, "BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE").await;
    let mut builder = place.store::<Postgres>(LONG);
    let building = tokio::spawn(async move { builder.migrate().await });
    until(&mut connection, "SELECT to_regclass('orders_by_age') IS NOT NULL").await;
    let claim = claim(&mut store, &amount(1, "k", "10")).await;
    assert!(decide(&mut store, &claim, Verdict::Reserved).await.decided.is_some());
    assert!(!building.is_finished());
    run(&mut other, "COMMIT").await;
    building.await.unwrap().unwrap();
    until(&mut connection, IS_VALID).await;
}

#[tokio::test]
async fn an_index_whose_build_was_interrupted_is_built_anew_by_one_of_many() {
    let place = Postgres::fresh().await;
    let mut connection = connect(&place).await;
    let interrupt = "
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_by_age'::regclass";
    run(&mut connection, interrupt).await;
    let build = |mut store: Store<Postgres>| async move { store.migrate().await };
    let stores = [place.store(LONG), place.store(LONG), place.store(LONG)];
    for built in futures_util::future::join_all(stores.map(build)).await {
        built.unwrap();
    }
    until(&mut connection, IS_VALID).await;
}

const IS_VALID: &str = "
    SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('orders_by_age')";

/// Waits until a query says so, with a bound.
async fn until(connection: &mut PgConnection, query: &'static str) {
    for _ in 0..600 {
        if sqlx::query_scalar(query).fetch_one(&mut *connection).await.unwrap() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came to: {query}");
}

#[tokio::test]
async fn two_processes_may_keep_the_key_table_at_once() {
    let place = Postgres::empty().await;
    let keep = |mut store: Store<Postgres>| async move { store.migrate().await };
    let stores = [place.store(LONG), place.store(LONG), place.store(LONG)];
    for kept in futures_util::future::join_all(stores.map(keep)).await {
        kept.unwrap();
    }
    assert_eq!(days(&mut connect(&place).await).await, [-2, -1, 0, 1, 2, 3]);
}

#[tokio::test]
async fn on_sqlite_old_decided_keys_are_pruned_and_others_kept() {
    let place = Sqlite::fresh().await;
    let mut store = place.store::<Sqlite>(LONG);
    let old = claim(&mut store, &amount(1, "old", "10")).await;
    decide(&mut store, &old, Verdict::Reserved).await;
    claim(&mut store, &amount(1, "undecided", "10")).await;
    age_by_days(&place, 3).await;
    let new = claim(&mut store, &amount(1, "new", "10")).await;
    decide(&mut store, &new, Verdict::Reserved).await;
    assert_eq!(store.keep_keys().await.unwrap(), 1);
    let names = ["old", "undecided", "new"].map(|text| (account(1), key(text)));
    let left = store.keys(&names).await.unwrap();
    // The old one's order speaks for it now.
    let fences = left.iter().map(|row| row.as_ref().unwrap().claim.fence);
    assert_eq!(fences.collect::<Vec<_>>(), [0, 1, 1]);
}

/// A pod with a longer lifetime lives beside one with a shorter one; on PostgreSQL days go, on SQLite rows.
#[tokio::test]
async fn a_pod_with_a_shorter_lifetime_keeps_the_keys_that_a_longer_one_was_promised() {
    let place = Postgres::fresh().await;
    let [mut short, mut long] = [2, 5].map(|days| place.store::<Postgres>(lifetime(days)));
    let mut connection = connect(&place).await;
    long.keep_keys().await.unwrap();
    let claim = claim(&mut short, &amount(1, "k", "10")).await;
    decide(&mut short, &claim, declined()).await;
    run(&mut connection, &move_to(4)).await;
    assert_eq!(short.keep_keys().await.unwrap(), 0);
    let again = short.claim(&[new_claim(&amount(1, "k", "10"))]).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken, "within the lifetime that it was told under");

    run(&mut connection, &move_to(6)).await;
    assert_eq!(short.keep_keys().await.unwrap(), 1);
    let again = short.claim(&[new_claim(&amount(1, "k", "11"))]).await.unwrap().remove(0);
    assert!(matches!(again, Claimed::Mine(_)), "{again:?}");
}

#[tokio::test]
async fn on_sqlite_too_the_longest_lifetime_of_a_day_counts() {
    let place = Sqlite::fresh().await;
    let [mut short, mut long] = [2, 5].map(|days| place.store::<Sqlite>(lifetime(days)));
    long.keep_keys().await.unwrap();
    let claim = claim(&mut short, &amount(1, "k", "10")).await;
    decide(&mut short, &claim, declined()).await;
    age_by_days(&place, 4).await;
    assert_eq!(short.keep_keys().await.unwrap(), 0);
    age_by_days(&place, 2).await;
    assert_eq!(short.keep_keys().await.unwrap(), 1);
}

async fn age_by_days(place: &Place, days: i64) {
    let DatabaseUrl::Sqlite(path) = &place.url else { unreachable!("a SQLite test") };
    let mut connection: SqliteConnection = database::Sqlite::options(path).connect().await.unwrap();
    let age =
        "UPDATE idempotency_keys SET created_at = created_at - ?1, decided_at = decided_at - ?1";
    let micros = days * 24 * 60 * 60 * 1_000_000;
    sqlx::query(age).bind(micros).execute(&mut connection).await.unwrap();
}
