//! How long the keys of each day are kept: see [`KeyLifetime`]. Days are counted from 1970.

use database::{Sqlite, Transaction};
use sqlx::{Row, SqliteConnection};

use super::rows::{self, Micros};
use crate::storage::{KeyLifetime, lifetime::DAYS_AHEAD};

const DAY: Micros = 24 * 60 * 60 * 1_000_000;

/// Also for days that are past: where a lifetime becomes longer, what is still there is kept longer.
const PROMISE: &str = "
    WITH RECURSIVE days (day) AS (SELECT ?1 - ?2 UNION ALL SELECT day + 1 FROM days WHERE day < ?1 + ?3)
    INSERT INTO key_days (day, lifetime_days) SELECT day, ?2 FROM days WHERE TRUE
    ON CONFLICT (day) DO UPDATE SET lifetime_days = excluded.lifetime_days
    WHERE lifetime_days < excluded.lifetime_days";

const FIRST_KEPT: &str = "SELECT min(day) AS day FROM key_days WHERE day + lifetime_days >= ?1";

const FORGET: &str = "DELETE FROM key_days WHERE day < ?1";

/// Promises that keys are kept for as long as this from now on. Answers when the first day begins whose keys are.
pub(super) struct Promise {
    pub(super) lifetime: KeyLifetime,
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
