//! Old keys, let go of in small chunks, and how long the keys of each day are kept: see [`KeyLifetime`]. Days are counted
//! from 1970.

use database::{Session, Sqlite, StoreError, Transaction};
use sqlx::{Row, SqliteConnection, migrate::MigrateError, sqlite::SqliteConnectOptions};

use super::rows::{self, Micros};
use crate::storage::{KeyLifetime, lifetime::DAYS_AHEAD, tables::Upkeep};

/// Chunks of old keys that are let go of at a time: together more than a minute of orders can make.
const PRUNE_ROUNDS: u32 = 1_000;

/// Old keys that one round lets go of: a short write, so that orders do not wait for it.
const PRUNE_AT_ONCE: i64 = 500;

const DAY: Micros = 24 * 60 * 60 * 1_000_000;

/// Also for days that are past: where a lifetime becomes longer, what is still there is kept longer.
const PROMISE: &str = "
    WITH RECURSIVE days (day) AS (SELECT ?1 - ?2 UNION ALL SELECT day + 1 FROM days WHERE day < ?1 + ?3)
    INSERT INTO key_days (day, lifetime_days) SELECT day, ?2 FROM days WHERE TRUE
    ON CONFLICT (day) DO UPDATE SET lifetime_days = excluded.lifetime_days
    WHERE lifetime_days < excluded.lifetime_days";

const FIRST_KEPT: &str = "SELECT min(day) AS day FROM key_days WHERE day + lifetime_days >= ?1";

const FORGET: &str = "DELETE FROM key_days WHERE day < ?1";

const PRUNE: &str = "
    DELETE FROM idempotency_keys WHERE (account_id, idempotency_key) IN (
        SELECT account_id, idempotency_key FROM idempotency_keys WHERE decided_at < ?1 LIMIT ?2
    )";

/// Promises that keys are kept for as long as this from now on. Answers when the first day begins whose keys are.
struct Promise {
    lifetime: KeyLifetime,
}

/// Lets go of keys that were decided before a time.
struct Prune {
    before: Micros,
}

impl Upkeep for Sqlite {
    async fn after_migrating(
        _: &mut Session<Self>,
        _: &SqliteConnectOptions,
        _: KeyLifetime,
    ) -> Result<(), MigrateError> {
        Ok(())
    }

    async fn make_room(_: &mut Session<Self>, _: KeyLifetime) -> Result<(), StoreError> {
        Ok(())
    }

    async fn days_ahead(_: &mut Session<Self>) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    async fn keep_keys(
        session: &mut Session<Self>,
        lifetime: KeyLifetime,
    ) -> Result<u64, StoreError> {
        let before = session.transact(&mut Promise { lifetime }).await?;
        let mut gone = 0;
        for _ in 0..PRUNE_ROUNDS {
            let pruned = session.statement(&mut Prune { before }).await?;
            gone += pruned;
            if pruned < PRUNE_AT_ONCE.unsigned_abs() {
                break;
            }
        }
        Ok(gone)
    }
}

impl Transaction<Sqlite> for Promise {
    const NAME: &'static str = "promise_key_days";
    type Output = Micros;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Micros> {
        let today = rows::now(connection).await?.div_euclid(DAY);
        sqlx::query(PROMISE)
            .bind(today)
            .bind(self.lifetime.days())
            .bind(DAYS_AHEAD)
            .execute(&mut *connection)
            .await?;

        let first = sqlx::query(FIRST_KEPT).bind(today).fetch_one(&mut *connection).await?;
        let first: i64 = first.try_get("day")?;
        sqlx::query(FORGET).bind(first).execute(connection).await?;
        Ok(first * DAY)
    }
}

impl Transaction<Sqlite> for Prune {
    const NAME: &'static str = "prune_keys";
    type Output = u64;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<u64> {
        let query = sqlx::query(PRUNE).bind(self.before).bind(PRUNE_AT_ONCE);
        query.execute(connection).await.map(|gone| gone.rows_affected())
    }
}
