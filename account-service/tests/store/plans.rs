//! How PostgreSQL finds the rows: by their keys, from the first batch on a table without statistics.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use database::Postgres;
use sqlx::{Connection, PgConnection};
use tests::shared_postgres::indexes_by_collation;

use crate::{
    commands::{capture, deposit, open, refund, reserve, reserve_for},
    support::Fresh,
};

/// Rows that a table must be read by its keys for before the counts are looked at.
const ENOUGH: i64 = 20;

/// Sequential and index scans of each table.
async fn scans(connection: &mut PgConnection) -> BTreeMap<String, (i64, i64)> {
    let counts = "SELECT relname::text, seq_scan, idx_scan FROM pg_stat_user_tables
        WHERE relname IN ('accounts', 'reservations', 'deposits', 'refunds')";
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(counts).fetch_all(connection).await.unwrap();
    rows.into_iter().map(|(table, whole, by_key)| (table, (whole, by_key))).collect()
}

#[tokio::test]
async fn no_batch_reads_a_whole_table_even_before_the_first_analyze() {
    let place = Postgres::fresh().await;
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    // Making the schema reads its empty tables. Those reads are told when its connection has closed.
    let off = "ALTER TABLE accounts SET (autovacuum_enabled = off);
        ALTER TABLE reservations SET (autovacuum_enabled = off)";
    sqlx::raw_sql(off).execute(&mut connection).await.unwrap();
    let mut store = place.store();
    store.apply(&[open(1, "1000"), open(2, "1000")]).await.unwrap();
    for n in 0..30 {
        let (held, taken) = (format!("held-{n}"), format!("taken-{n}"));
        let batch = [
            deposit(1, &held, "1"),
            reserve_for(1, &held, "o", "1", 0),
            reserve(2, &taken, "1"),
            capture(2, &taken, ""),
            refund(2, &taken, "x", "1"),
            reserve(1, &format!("declined-{n}"), "5000"),
        ];
        store.apply(&batch).await.unwrap();
        store.expire(10).await.unwrap();
    }
    drop(store);
    let began = Instant::now();
    let counts = loop {
        let counts = scans(&mut connection).await;
        if counts.len() == 4 && counts.values().all(|(_, by_key)| *by_key >= ENOUGH) {
            break counts;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{counts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // An index is built by one read of its table; there are two on reservations, one on each of the others.
    for (table, (whole, by_key)) in counts {
        assert!(whole <= 2, "{table} was read whole {whole} times, by key {by_key} times");
    }
}

#[tokio::test]
async fn no_index_depends_on_the_collation_of_the_database() {
    let place = Postgres::fresh().await;
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    assert_eq!(indexes_by_collation(&mut connection).await.unwrap(), Vec::<String>::new());
}
