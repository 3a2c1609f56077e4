//! What PostgreSQL wrote and was asked between two moments.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{PgConnection, Row, raw_sql};
use tests::load::CpuUse;

/// Both come with PostgreSQL's contrib modules; reading the log needs version 15.
const PREPARE: &str = "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_walinspect";

const RESET: &str = "SELECT pg_stat_statements_reset()";

/// What is flushed: further the log cannot be read.
const POSITION: &str = "SELECT pg_current_wal_flush_lsn()::text";

/// A record of the log belongs to the database of the page that it changes. One without a page, as a commit is, belongs to
/// that of its transaction. What belongs to none (checkpoints, running transactions) is the server's own.
const RECORDS: &str = r"
    WITH records AS (
        SELECT xid::text AS xid, resource_manager || '/' || split_part(record_type, '+', 1) AS kind, record_length, fpi_length,
            substring(block_ref FROM 'rel \d+/(\d+)/')::oid AS page_of
        FROM pg_get_wal_records_info($1::pg_lsn, $2::pg_lsn)
    ), placed AS (
        SELECT kind, record_length, fpi_length,
            CASE WHEN page_of > 0 OR xid = '0' THEN page_of ELSE max(page_of) OVER (PARTITION BY xid) END AS database
        FROM records
    )
    SELECT coalesce(d.datname::text, 'server') AS database, kind, count(*) AS records,
        sum(record_length - fpi_length)::int8 AS bytes, sum(fpi_length)::int8 AS image_bytes
    FROM placed LEFT JOIN pg_database AS d ON d.oid = database
    GROUP BY 1, 2";

/// The statement that counts a commit is sent together with its COMMIT: one round trip.
const STATEMENTS: &str = "
    SELECT d.datname::text AS database,
        (sum(calls) FILTER (WHERE query NOT LIKE 'UPDATE commit_counters%'))::int8 AS round_trips,
        sum(shared_blks_hit + shared_blks_read)::int8 AS buffers
    FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
    WHERE d.datname <> current_database() AND query NOT LIKE '%of_budget%' GROUP BY 1";

/// What so many orders cost.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) placed: u64,
    pub(crate) time: Duration,
    pub(crate) cpu: CpuUse,
    pub(crate) counts: BTreeMap<String, Counts>,
}

/// What was counted for one database, or for what the server did by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    /// Of the updated: on their page, and without a new entry in any index.
    pub(crate) hot: u64,
    pub(crate) deleted: u64,
    pub(crate) locked: u64,
    pub(crate) index_entries: u64,
    pub(crate) commits: u64,
    pub(crate) wal_records: u64,
    /// But for images of pages.
    pub(crate) wal_bytes: u64,
    pub(crate) image_bytes: u64,
    pub(crate) round_trips: u64,
    pub(crate) buffers: u64,
}

/// Where the log was when counting began.
pub(crate) struct Mark {
    position: String,
}

/// Makes a server able to be counted.
pub(crate) async fn prepare(observer: &mut PgConnection) -> sqlx::Result<()> {
    raw_sql(PREPARE).execute(observer).await.map(drop)
}

impl Mark {
    pub(crate) async fn now(observer: &mut PgConnection) -> sqlx::Result<Self> {
        raw_sql(RESET).execute(&mut *observer).await?;
        Ok(Self { position: position(observer).await? })
    }

    pub(crate) async fn since(
        &self,
        observer: &mut PgConnection,
    ) -> sqlx::Result<BTreeMap<String, Counts>> {
        let end = position(observer).await?;
        let mut counts = BTreeMap::<String, Counts>::new();
        for row in sqlx::query(STATEMENTS).fetch_all(&mut *observer).await? {
            let of = counts.entry(row.try_get("database")?).or_default();
            of.round_trips = count(&row, "round_trips")?;
            of.buffers = count(&row, "buffers")?;
        }
        let records = sqlx::query(RECORDS).bind(&self.position).bind(end);
        for row in records.fetch_all(observer).await? {
            let of = counts.entry(row.try_get("database")?).or_default();
            let records = count(&row, "records")?;
            of.add(row.try_get("kind")?, records);
            of.wal_bytes += count(&row, "bytes")?;
            of.image_bytes += count(&row, "image_bytes")?;
        }
        Ok(counts)
    }
}

impl Counts {
    /// Takes so many records of a kind.
    fn add(&mut self, kind: &str, records: u64) {
        self.wal_records += records;
        match kind {
            "Heap/INSERT" => self.inserted += records,
            "Heap/UPDATE" => self.updated += records,
            "Heap/HOT_UPDATE" => {
                self.updated += records;
                self.hot += records;
            }
            "Heap/DELETE" => self.deleted += records,
            "Heap/LOCK" => self.locked += records,
            // A page is split for an entry that found no room, and takes it.
            "Btree/INSERT_LEAF" | "Btree/INSERT_POST" | "Btree/SPLIT_L" | "Btree/SPLIT_R" => {
                self.index_entries += records;
            }
            "Transaction/COMMIT" => self.commits += records,
            _ => {}
        }
    }
}

async fn position(observer: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar(POSITION).fetch_one(observer).await
}

fn count(row: &sqlx::postgres::PgRow, column: &str) -> sqlx::Result<u64> {
    let count: Option<i64> = row.try_get(column)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

#[cfg(test)]
mod unit {
    use sqlx::Connection;
    use tests::postgres::Postgres;

    use super::*;

    const WORK: &str = "
        INSERT INTO kept SELECT n, 0 FROM generate_series(1, 7) AS n;
        UPDATE kept SET changing = 1 WHERE id <= 5;
        UPDATE kept SET id = id + 100 WHERE id = 6;
        DELETE FROM kept WHERE id = 7;";

    #[tokio::test]
    async fn rows_index_entries_and_round_trips_are_counted_one_by_one() {
        let settings = ["shared_preload_libraries=pg_stat_statements", "autovacuum=off"];
        let server = Postgres::start_with(&settings).await.unwrap();
        let mut observer = PgConnection::connect(&server.url("postgres")).await.unwrap();
        prepare(&mut observer).await.unwrap();
        let url = server.create_database("books").await.unwrap();
        let mut books = PgConnection::connect(&url).await.unwrap();
        let table = "CREATE TABLE kept (id int PRIMARY KEY, changing int)";
        raw_sql(table).execute(&mut books).await.unwrap();

        let mark = Mark::now(&mut observer).await.unwrap();
        raw_sql(WORK).execute(&mut books).await.unwrap();
        let mut counts = mark.since(&mut observer).await.unwrap();
        let counts = counts.remove("books").unwrap();
        assert_eq!((counts.inserted, counts.updated, counts.hot, counts.deleted), (7, 6, 5, 1));
        // Seven rows, and one that got another id.
        assert_eq!((counts.index_entries, counts.commits, counts.round_trips), (8, 1, 4));
        assert!(counts.wal_bytes > 7 * 40 && counts.wal_records > 7 + 6 + 1 + 8);
        assert!(counts.buffers > 0);
    }
}
