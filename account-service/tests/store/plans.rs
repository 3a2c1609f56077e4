//! How PostgreSQL finds the rows: by their keys, whatever it believed about the tables when it planned.
//!
//! A statement is planned once for its connection. So each is planned here on tables of every kind (empty, small and
//! large, analysed and never analysed), then all are large, and then the server is asked how many buffers each statement
//! looked at.

use std::collections::BTreeSet;

use account_service::{
    ledger::Command,
    storage::{Page, Store},
};
use database::{DatabaseUrl, Lineage, Postgres};
use proto::id::ReserveId;
use sqlx::{Connection, PgConnection};
use tests::{postgres::Postgres as Server, shared_postgres::indexes_by_collation};

use crate::{
    commands::{account, capture, deposit, open, refund, release, reserve, reserve_for},
    support::Fresh,
};

/// Commands of a batch, rows of a page, holds of a sweep.
const BATCH: i64 = 10;

/// Buffers that a statement may look at for each row that it is about: a few descents of an index and the pages of the row
/// itself. A statement that reads a table, or all rows of an account, looks at hundreds here.
const BUFFERS_PER_ROW: f64 = 15.0;

/// What tables are when a connection plans.
const STATES: [(&str, &[&str]); 6] = [
    ("empty and never analysed", &[]),
    ("empty and analysed", &[ANALYSE]),
    ("small and never analysed", &[SMALL]),
    ("small and analysed", &[SMALL, ANALYSE]),
    ("large and never analysed", &[LARGE]),
    ("large and analysed", &[LARGE, ANALYSE]),
];

const ANALYSE: &str = "ANALYZE accounts, reservations, deposits, refunds, entries";

macro_rules! fill {
    ($rows:literal) => {
        concat!(
            "INSERT INTO accounts SELECT n, 'USD', 1000000, 1000000, 0, 0, now() FROM generate_series(1, ", $rows, ") AS n
                 ON CONFLICT DO NOTHING;
             UPDATE accounts SET entries = ", $rows, " WHERE account_id = 1;
             INSERT INTO reservations (account_id, reserve_id, order_id, amount, captured, refunded, state, created_at,
                     expires_at)
                 SELECT of.account, 'old-' || n, 'o', 1, 1, 0, 'CAPTURED', now(), now() - interval '1 day'
                 FROM generate_series(1, ", $rows, ") AS n, LATERAL (VALUES (1), (1 + n)) AS of (account);
             INSERT INTO reservations (account_id, reserve_id, order_id, amount, captured, refunded, state, created_at,
                     expires_at)
                 SELECT of.account, 'held-' || n, 'o', 1, 0, 0, 'HELD', now(), now() + interval '1 day'
                 FROM generate_series(1, ", $rows, ") AS n, LATERAL (VALUES (1), (1 + n)) AS of (account);
             INSERT INTO deposits SELECT 1, 'old-' || n, 1, now() FROM generate_series(1, ", $rows, ") AS n;
             INSERT INTO refunds SELECT 1, 'old-' || n, 'x', 1, now() FROM generate_series(1, ", $rows, ") AS n;
             INSERT INTO entries
                 SELECT 1, n, 'DEPOSIT', 1, n, 'old-' || n, NULL, now() FROM generate_series(1, ", $rows, ") AS n
                 ON CONFLICT DO NOTHING;"
        )
    };
}

const SMALL: &str = fill!("15");
const LARGE: &str = concat!(
    "DELETE FROM reservations WHERE reserve_id ~ '^(old|held)-'; DELETE FROM deposits WHERE deposit_id LIKE 'old-%';
     DELETE FROM refunds WHERE reserve_id LIKE 'old-%';",
    fill!("10000")
);

/// Statements of the ledger since the last reset: what each was, and its buffers for each time that it ran. Statements about
/// other tables are not the ledger's own.
const LOOKED_AT: &str = "
    SELECT query, (shared_blks_hit + shared_blks_read)::float8 / calls
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query !~ 'pg_stat|generate_series' AND query ~ '\\m(accounts|reservations|deposits|refunds|entries|now)\\M'
        AND query !~ '\\m(database_identity|commit_counters|partner_positions|set_config)\\M'";

/// Each statement of the service at least once, with `round` in every id.
async fn every_statement(store: &mut Store<Postgres>, round: i64) {
    let ids = 1..=BATCH;
    let name = |what: &str| format!("{what}-{round}");
    let batch = |command: &dyn Fn(i64) -> Command| ids.clone().map(command).collect::<Vec<_>>();
    let batches = [
        batch(&|id| open(1_000_000 + round * BATCH + id, "1")),
        batch(&|id| open(id, "1000000")),
        batch(&|id| deposit(id, &name("deposit"), "1")),
        batch(&|id| reserve(id, &name("taken"), "1")),
        batch(&|id| capture(id, &name("taken"), "")),
        batch(&|id| refund(id, &name("taken"), "x", "1")),
        batch(&|id| reserve(id, &name("released"), "1")),
        batch(&|id| release(id, &name("released"))),
        batch(&|id| reserve_for(id, &name("due"), "o", "1", 0)),
    ];
    for batch in &batches {
        for outcome in store.apply(batch).await.unwrap() {
            outcome.unwrap();
        }
    }

    let named: BTreeSet<_> = ids.clone().map(account).collect();
    assert_eq!(store.accounts(&named).await.unwrap().len(), named.len());
    let keys = ids.clone().map(|id| (account(id), ReserveId::new(name("taken")).unwrap()));
    assert_eq!(store.reservations(&keys.collect()).await.unwrap().len(), named.len());
    let limit = usize::try_from(BATCH).unwrap();
    store.entries(&[Page { account_id: account(1), before: None, limit }]).await.unwrap();

    assert!(store.expire(u32::try_from(BATCH).unwrap()).await.unwrap() > 0);
    assert_eq!(store.expire(u32::try_from(BATCH).unwrap()).await.unwrap(), 0);
}

#[tokio::test]
async fn every_statement_looks_rows_up_whatever_the_tables_were_when_it_was_planned() {
    let settings = [
        "shared_preload_libraries=pg_stat_statements",
        "pg_stat_statements.track_utility=off",
        "autovacuum=off",
    ];
    let server = Server::start_with(&settings).await.unwrap();
    for (number, (state, preparing)) in STATES.into_iter().enumerate() {
        let url: DatabaseUrl =
            server.create_database(&format!("ledger_{number}")).await.unwrap().parse().unwrap();
        let DatabaseUrl::Postgres(address) = url else { unreachable!("a PostgreSQL address") };
        let mut connection = address.connect().await.unwrap();
        let options = Postgres::options(*address, "account-service tests");
        Store::<Postgres>::new(options.clone()).migrate().await.unwrap();
        run(&mut connection, "CREATE EXTENSION pg_stat_statements").await;
        for step in preparing {
            run(&mut connection, step).await;
        }

        let mut store = Store::<Postgres>::new(options).tracked(Lineage::of_process());
        every_statement(&mut store, 0).await;
        if !preparing.contains(&LARGE) {
            run(&mut connection, LARGE).await;
        }
        run(&mut connection, "SELECT pg_stat_statements_reset()").await;
        for round in 1..=3 {
            every_statement(&mut store, round).await;
        }
        judge(&mut connection, state).await;
    }
}

/// Every statement that the source has ran, and read no more than its rows.
async fn judge(connection: &mut PgConnection, state: &str) {
    let looked_at: Vec<(String, f64)> =
        sqlx::query_as(LOOKED_AT).fetch_all(connection).await.unwrap();
    let sources = [
        include_str!("../../src/storage/postgres/read.rs"),
        include_str!("../../src/storage/postgres/write.rs"),
    ];
    let statements: usize =
        sources.iter().map(|source| source.matches("sqlx::query").count()).sum();
    assert_eq!(looked_at.len(), statements, "a statement did not run: {looked_at:#?}");

    for (statement, buffers) in looked_at {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let by_row = buffers / BATCH as f64;
        assert!(
            by_row <= BUFFERS_PER_ROW,
            "planned on tables that were {state}, {by_row} buffers a row: {statement}"
        );
    }
}

async fn run(connection: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(connection).await.unwrap();
}

#[tokio::test]
async fn no_index_depends_on_the_collation_of_the_database() {
    let place = Postgres::fresh().await;
    let mut connection = PgConnection::connect_with(&place.options).await.unwrap();
    assert_eq!(indexes_by_collation(&mut connection).await.unwrap(), Vec::<String>::new());
}
