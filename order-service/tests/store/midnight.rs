//! Duplicates on either side of midnight: the database's clock is moved so that it comes during the test.
//!
//! `now()` is found by name. With `pg_catalog` last in the search path, a function of our own is found first.

use std::time::{Duration, Instant};

use database::{DatabaseUrl, Postgres};
use order_service::{order::decision::Verdict, storage::Claimed};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::{Fresh, LONG, Place, account, amount, decide, key, new_claim};

/// How long before midnight the test begins, and how long it goes on: both sides have time for many keys.
const BEFORE: Duration = Duration::from_secs(2);
const IN_ALL: Duration = Duration::from_secs(4);

async fn connect(place: &Place) -> PgConnection {
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    address.connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// A database in which it is `BEFORE` midnight now.
async fn late_in_the_evening() -> Place {
    let place = Postgres::empty().await;
    let mut connection = connect(&place).await;
    let shift = format!(
        "CREATE SCHEMA shifted;
        CREATE TABLE shifted.clock AS
            SELECT (date_trunc('day', t) + interval '1 day' - interval '{} s') - t AS by
            FROM (SELECT now() AT TIME ZONE 'UTC' AS t) AS utc;
        CREATE FUNCTION shifted.now() RETURNS timestamptz STABLE LANGUAGE sql AS
            'SELECT pg_catalog.now() + clock.by FROM shifted.clock';
        DO $$ BEGIN
            EXECUTE format('ALTER DATABASE %I SET search_path = public, shifted, pg_catalog', current_database());
        END $$",
        BEFORE.as_secs()
    );
    run(&mut connection, shift).await;
    place.store::<Postgres>(LONG).migrate().await.unwrap();
    place
}

#[tokio::test]
async fn duplicates_on_either_side_of_midnight_are_claimed_once() {
    let place = late_in_the_evening().await;
    let mut stores = [place.store::<Postgres>(LONG), place.store::<Postgres>(LONG)];
    let (began, mut keys) = (Instant::now(), 0);
    while began.elapsed() < IN_ALL {
        let request = amount(1, &format!("k{keys}"), "10");
        let claims = [[new_claim(&request)], [new_claim(&request)]];
        let [one, other] = &mut stores;
        let (one, other) = tokio::join!(one.claim(&claims[0]), other.claim(&claims[1]));
        let answers = [one.unwrap().remove(0), other.unwrap().remove(0)];
        let mine = answers.iter().filter(|answer| matches!(answer, Claimed::Mine(_))).count();
        assert_eq!(mine, 1, "{answers:?}");
        keys += 1;
    }
    let mut connection = connect(&place).await;
    let days = "SELECT count(*) FROM idempotency_keys GROUP BY day ORDER BY day";
    let days: Vec<i64> = sqlx::query_scalar(days).fetch_all(&mut connection).await.unwrap();
    assert_eq!(days.len(), 2, "midnight came: {days:?}");
    assert_eq!(days.iter().sum::<i64>(), keys, "one row a key");

    // What was claimed before midnight is still known, worked on and placed once.
    let row = stores[1].keys(&[(account(1), key("k0"))]).await.unwrap().remove(0).unwrap();
    assert!(decide(&mut stores[1], &row.claim, Verdict::Reserved).await.decided.is_some());
    let again = stores[0].claim(&[new_claim(&amount(1, "k0", "10"))]).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken);
}
