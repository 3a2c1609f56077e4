//! The days of the key table: partitions made ahead, dropped whole (A18).
//!
//! A partition goes when the lifetime of its keys is over (see `lifetimes.rs`), and only if every key in it is decided. Rows are never deleted one by one. Both kinds of change lock the table for an instant, so they wait for
//! that lock one second at most and try again at the next round.

use database::{Postgres, Transaction};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use time::{Date, Duration};

use super::{lifetimes, rows};
use crate::storage::KeyLifetime;

/// How many days ahead partitions exist: this long the service could be unable to make one before a claim fails.
const DAYS_AHEAD: i64 = 3;

/// How many days back partitions exist, whatever was placed then: the clock of another server may be behind.
const DAYS_BACK: i64 = 2;

/// Lets one process at a time change partitions; any number that nothing else uses.
const LOCK: &str = "SELECT pg_advisory_xact_lock(5165082306)";

const PARTITIONS: &str = "
    SELECT c.relname, (now() AT TIME ZONE 'UTC')::date AS today
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'idempotency_keys'::regclass";

const TODAY: &str = "SELECT (now() AT TIME ZONE 'UTC')::date AS today";

const PREFIX: &str = "idempotency_keys_";

pub(super) struct KeepKeys {
    pub(super) lifetime: KeyLifetime,
}

impl Transaction<Postgres> for KeepKeys {
    const NAME: &'static str = "keep_keys";
    type Output = u64;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        sqlx::query(LOCK).execute(&mut *connection).await?;
        sqlx::raw_sql("SET LOCAL lock_timeout = '1s'").execute(&mut *connection).await?;
        let today: Date = sqlx::query(TODAY).fetch_one(&mut *connection).await?.try_get("today")?;
        let found = sqlx::query(PARTITIONS).fetch_all(&mut *connection).await?;
        let names: Vec<String> =
            found.iter().map(|row| row.try_get("relname")).collect::<sqlx::Result<_>>()?;
        let first_kept = lifetimes::promise(connection, today, self.lifetime).await?;
        for ahead in -DAYS_BACK.min(self.lifetime.days())..=DAYS_AHEAD {
            let day = today + Duration::days(ahead);
            if !names.contains(&name(day)) {
                create(connection, day).await?;
            }
        }
        let mut dropped = 0;
        let oldest = name(first_kept);
        // Names sort as their days do.
        for old in names.iter().filter(|name| name.starts_with(PREFIX) && **name < oldest) {
            dropped += u64::from(drop_if_decided(connection, old).await?);
        }
        Ok(dropped)
    }
}

fn name(day: Date) -> String {
    format!("{PREFIX}{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

async fn create(connection: &mut PgConnection, day: Date) -> sqlx::Result<()> {
    let next = day.next_day().ok_or_else(|| rows::odd("the end of time"))?;
    let statement = format!(
        "CREATE TABLE {} PARTITION OF idempotency_keys FOR VALUES FROM ('{day}') TO ('{next}') WITH (fillfactor = 70)",
        name(day)
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.map(drop)
}

async fn drop_if_decided(connection: &mut PgConnection, partition: &str) -> sqlx::Result<bool> {
    let undecided =
        format!("SELECT EXISTS (SELECT FROM {partition} WHERE status = 'PROCESSING') AS any");
    let row = sqlx::query(AssertSqlSafe(undecided)).fetch_one(&mut *connection).await?;
    if row.try_get("any")? {
        tracing::warn!(partition, "an old partition is kept: it has an undecided key");
        return Ok(false);
    }
    let statement = format!(
        "ALTER TABLE idempotency_keys DETACH PARTITION {partition}; DROP TABLE {partition}"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    tracing::info!(partition, "dropped an old partition");
    Ok(true)
}
