//! How PostgreSQL finds the rows: by their keys, whatever it believed about the tables when it planned.

use std::time::{Duration, Instant};

use database::{DatabaseUrl, Postgres};
use order_service::{
    order::decision::{Settlement, Verdict},
    storage::{Claimed, Cursor, Store},
};
use sqlx::{Connection, PgConnection};
use tests::shared_postgres::indexes_by_collation;

use crate::support::{Fresh, LONG, account, amount, claim_in_orders, key, new_claim, settlement};

const BATCHES: usize = 150;
const BATCH: usize = 10;

/// Index entries and rows that one order may make the database look at, over all its statements. A statement that
/// reads every key of the day, or every key under way, looks at hundreds here.
const READ_BY_ONE_ORDER: i64 = 25;

/// Index entries read and rows read without an index, by now.
async fn read(connection: &mut PgConnection) -> i64 {
    let query = "
        SELECT coalesce((SELECT sum(idx_tup_read) FROM pg_stat_user_indexes), 0)::bigint
            + coalesce((SELECT sum(seq_tup_read) FROM pg_stat_user_tables), 0)::bigint";
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// Waits until the server has been told of all orders. It is told when a connection closes.
async fn told(connection: &mut PgConnection, orders: usize) {
    let began = Instant::now();
    let query = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'orders'";
    loop {
        let inserted: i64 = sqlx::query_scalar(query).fetch_one(&mut *connection).await.unwrap();
        if usize::try_from(inserted).unwrap() >= orders {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{inserted} of {orders} were told");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A batch on its way: claimed while earlier ones are still under way, read, and settled.
async fn place_batch(store: &mut Store<Postgres>, batch: usize, waiting: &mut Vec<Settlement>) {
    let requests: Vec<_> =
        (0..BATCH).map(|n| amount(1 + n as i64, &format!("key-{batch}"), "10")).collect();
    let claims: Vec<_> = requests.iter().map(new_claim).collect();
    for claimed in store.claim(&claims).await.unwrap() {
        let Claimed::Mine(claim) = claimed else { panic!("not claimed: {claimed:?}") };
        waiting.push(settlement(&claim, Verdict::Reserved));
    }
    let keys: Vec<_> =
        (0..BATCH).map(|n| (account(1 + n as i64), key(&format!("key-{batch}")))).collect();
    store.keys(&keys).await.unwrap();
    // Half of the keys stay undecided until the end.
    let settled = waiting.split_off(waiting.len() - BATCH / 2);
    let notices: Vec<_> =
        store.decide(&settled).await.unwrap().into_iter().filter_map(|s| s.notice).collect();
    store.finish_notices(&notices).await.unwrap();
}

#[tokio::test]
async fn what_an_order_reads_does_not_grow_with_the_tables() {
    assert_reads_little().await;
}

#[tokio::test]
async fn what_an_order_reads_does_not_grow_where_its_key_is_in_its_row() {
    claim_in_orders();
    assert_reads_little().await;
}

async fn assert_reads_little() {
    let place = Postgres::fresh().await;
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    let mut connection = address.connect().await.unwrap();
    // Every statement is planned on empty tables, by a connection that stays.
    let mut store = place.store::<Postgres>(LONG);
    let before = read(&mut connection).await;
    let mut waiting = Vec::new();
    for batch in 0..BATCHES {
        place_batch(&mut store, batch, &mut waiting).await;
    }
    assert!(store.overdue(BATCH).await.unwrap().is_empty());
    for settled in waiting.chunks(BATCH) {
        store.decide(settled).await.unwrap();
    }
    drop(store);
    let orders = BATCHES * BATCH;
    told(&mut connection, orders).await;
    let by_one = (read(&mut connection).await - before) / i64::try_from(orders).unwrap();
    assert!(by_one <= READ_BY_ONE_ORDER, "{by_one} rows were read for each order");
    assert!(by_one > 0, "the counters do not count");
}

/// Of an account with thousands of orders, as by a connection that planned on empty tables.
#[tokio::test]
async fn a_page_of_orders_reads_its_own_rows_however_many_there_are() {
    const PAGE: usize = 10;
    let place = Postgres::fresh().await;
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    let mut connection = address.connect().await.unwrap();
    let mut store = place.store::<Postgres>(LONG);
    // Planned for good at the sixth time.
    for _ in 0..8 {
        store.list_orders(&[(account(1), None, PAGE)]).await.unwrap();
    }
    let fill = "
        INSERT INTO orders
        SELECT 1, gen_random_uuid(), n::text, 10, '{\"amount\":\"10\"}', 'PLACED', now() - n * interval '1 s'
        FROM generate_series(1, 5000) AS n;
        INSERT INTO payments
        SELECT account_id, order_id, gen_random_uuid(), amount, 'COMPLETED', created_at FROM orders";
    sqlx::raw_sql(fill).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let mut connection = address.connect().await.unwrap();
    told(&mut connection, 5000).await;
    let before = read(&mut connection).await;
    let pages = 20;
    let mut next = None;
    for _ in 0..pages {
        let page = store.list_orders(&[(account(1), next, PAGE)]).await.unwrap().remove(0);
        let last = page.last().unwrap();
        next = Some(Cursor::Order { placed_at: last.placed_at, order_id: last.order_id });
        assert_eq!(page.len(), PAGE);
    }
    drop(store);
    let payments =
        "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'payments'";
    for _ in 0..600 {
        let found: i64 = sqlx::query_scalar(payments).fetch_one(&mut connection).await.unwrap();
        if found >= i64::from(pages) * PAGE as i64 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let by_page = (read(&mut connection).await - before) / i64::from(pages);
    assert!(by_page <= 3 * PAGE as i64, "{by_page} rows were read for a page");
    assert!(by_page >= PAGE as i64, "the counters do not count");
}

#[tokio::test]
async fn no_index_depends_on_the_collation_of_the_database() {
    let place = Postgres::fresh().await;
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    let mut connection = address.connect().await.unwrap();
    assert_eq!(indexes_by_collation(&mut connection).await.unwrap(), Vec::<String>::new());
    let other = "CREATE INDEX by_basket ON orders (basket)";
    sqlx::raw_sql(other).execute(&mut connection).await.unwrap();
    assert_eq!(indexes_by_collation(&mut connection).await.unwrap(), ["by_basket"]);
}
