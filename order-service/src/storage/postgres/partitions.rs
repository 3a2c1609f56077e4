//! The days of the key table: partitions made ahead, dropped whole (A18).
//!
//! A partition goes when the lifetime of its keys is over (see `lifetimes.rs`), and only if every key in it is decided.
//! Rows are never deleted one by one.
//!
//! A new partition is made beside the table and attached, which holds up neither claims nor readers. To detach one the
//! table is locked against both for an instant. Where a long reader keeps that lock away, claims queue behind the attempt,
//! so it lasts [`LOCK_TIMEOUT`] and no longer, and [`crate::housekeeping`] tries ever more rarely.

use database::{PgOptions, Postgres, Session, StoreError, Transaction};
use sqlx::{AssertSqlSafe, PgConnection, Row, migrate::MigrateError};
use time::{Date, Duration};

use super::{indexes, lifetimes, rows};
use crate::storage::{KeyLifetime, tables::Upkeep};

/// How many days ahead partitions exist: this long the service could be unable to make one before a claim fails.
const DAYS_AHEAD: i64 = 3;

/// How many days back partitions exist, whatever was placed then: the clock of another server may be behind.
const DAYS_BACK: i64 = 2;

/// Lets one process at a time change partitions; any number that nothing else uses.
const LOCK: &str = "SELECT pg_advisory_xact_lock(5165082306)";

/// Claims wait at most this long for an attempt to detach.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '100ms'";

const PARTITIONS: &str = "
    SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'idempotency_keys'::regclass";

const TODAY: &str = "SELECT (now() AT TIME ZONE 'UTC')::date AS today";

const PREFIX: &str = "idempotency_keys_";

struct MakeRoom {
    lifetime: KeyLifetime,
}

struct DaysAhead;

struct DropOld {
    lifetime: KeyLifetime,
}

/// The partitions that there are, on a day.
struct Days {
    today: Date,
    names: Vec<String>,
}

impl Upkeep for Postgres {
    async fn after_migrating(
        session: &mut Session<Self>,
        options: &PgOptions,
        lifetime: KeyLifetime,
    ) -> Result<(), MigrateError> {
        indexes::build(options).await?;
        let kept = async {
            Self::make_room(session, lifetime).await?;
            Self::keep_keys(session, lifetime).await
        };
        kept.await.map(drop).map_err(|error| MigrateError::Source(error.into()))
    }

    async fn make_room(
        session: &mut Session<Self>,
        lifetime: KeyLifetime,
    ) -> Result<(), StoreError> {
        session.transact(&mut MakeRoom { lifetime }).await
    }

    async fn days_ahead(session: &mut Session<Self>) -> Result<Option<i64>, StoreError> {
        session.read(&mut DaysAhead).await.map(Some)
    }

    async fn keep_keys(
        session: &mut Session<Self>,
        lifetime: KeyLifetime,
    ) -> Result<u64, StoreError> {
        session.transact(&mut DropOld { lifetime }).await
    }
}

impl Transaction<Postgres> for MakeRoom {
    const NAME: &'static str = "make_room";
    type Output = ();
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        lock(connection).await?;
        let days = Days::read(connection).await?;
        for ahead in -DAYS_BACK.min(self.lifetime.days())..=DAYS_AHEAD {
            let day = days.today + Duration::days(ahead);
            if !days.has(day) {
                create(connection, day).await?;
            }
        }
        Ok(())
    }
}

impl Transaction<Postgres> for DaysAhead {
    const NAME: &'static str = "days_ahead";
    type Output = i64;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<i64> {
        Ok(Days::read(connection).await?.ahead())
    }
}

impl Transaction<Postgres> for DropOld {
    const NAME: &'static str = "drop_old";
    type Output = u64;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<u64> {
        lock(connection).await?;
        let days = Days::read(connection).await?;
        let oldest = name(lifetimes::promise(connection, days.today, self.lifetime).await?);
        // Names sort as their days do.
        let old = days.names.iter().filter(|name| name.starts_with(PREFIX) && **name < oldest);
        let mut dropped = 0;
        for old in old {
            dropped += u64::from(drop_if_decided(connection, old).await?);
        }
        Ok(dropped)
    }
}

impl Days {
    async fn read(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let today = sqlx::query(TODAY).fetch_one(&mut *connection).await?.try_get("today")?;
        let found = sqlx::query(PARTITIONS).fetch_all(connection).await?;
        let names = found.iter().map(|row| row.try_get("relname"));
        Ok(Self { today, names: names.collect::<sqlx::Result<_>>()? })
    }

    fn has(&self, day: Date) -> bool {
        self.names.contains(&name(day))
    }

    /// Days after today up to the first that has none; -1 when it is today.
    fn ahead(&self) -> i64 {
        let mut days = 0;
        while self.has(self.today + Duration::days(days)) {
            days += 1;
        }
        days - 1
    }
}

/// One process at a time, which waits as long as any transaction does; for tables it waits less.
async fn lock(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(LOCK).execute(&mut *connection).await?;
    sqlx::raw_sql(LOCK_TIMEOUT).execute(connection).await.map(drop)
}

fn name(day: Date) -> String {
    format!("{PREFIX}{:04}{:02}{:02}", day.year(), u8::from(day.month()), day.day())
}

/// As `CREATE TABLE … PARTITION OF` does, but without its lock: that one excludes claims and readers.
async fn create(connection: &mut PgConnection, day: Date) -> sqlx::Result<()> {
    let next = day.next_day().ok_or_else(|| rows::odd("the end of time"))?;
    let name = name(day);
    let statement = format!(
        "CREATE TABLE {name} (LIKE idempotency_keys INCLUDING ALL) WITH (fillfactor = 70);
         ALTER TABLE idempotency_keys ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{next}')"
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

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn days_ahead_are_counted_up_to_the_first_gap() {
        let today = date!(2026 - 12 - 30);
        let days = |ahead: &[i64]| Days {
            today,
            names: ahead.iter().map(|ahead| name(today + Duration::days(*ahead))).collect(),
        };
        assert_eq!(days(&[-2, -1, 0, 1, 2, 3]).ahead(), 3);
        assert_eq!(days(&[0, 1, 3]).ahead(), 1);
        assert_eq!(days(&[-1, 1]).ahead(), -1);
    }
}
