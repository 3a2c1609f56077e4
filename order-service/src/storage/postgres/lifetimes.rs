//! How long the keys of each day are kept: see [`KeyLifetime`].

use sqlx::{PgConnection, Row};
use time::Date;

use crate::storage::{KeyLifetime, lifetime::DAYS_AHEAD};

/// Also for days that are past: where a lifetime becomes longer, what is still there is kept longer.
const PROMISE: &str = "
    INSERT INTO key_days (day, lifetime_days)
    SELECT $1::date + ahead, $2::int FROM generate_series(-$2::int, $3::int) AS ahead
    ON CONFLICT (day) DO UPDATE SET lifetime_days = excluded.lifetime_days
    WHERE key_days.lifetime_days < excluded.lifetime_days";

const FIRST_KEPT: &str = "SELECT min(day) AS day FROM key_days WHERE day + lifetime_days >= $1";

const FORGET: &str = "DELETE FROM key_days WHERE day < $1";

/// Promises that keys are kept for as long as `lifetime` from now on. Answers the first day whose keys are.
pub(super) async fn promise(
    connection: &mut PgConnection,
    today: Date,
    lifetime: KeyLifetime,
) -> sqlx::Result<Date> {
    sqlx::query(PROMISE)
        .bind(today)
        .bind(lifetime.days() as i32)
        .bind(DAYS_AHEAD as i32)
        .execute(&mut *connection)
        .await?;

    let first = sqlx::query(FIRST_KEPT).bind(today).fetch_one(&mut *connection).await?;
    let first = first.try_get("day")?;
    sqlx::query(FORGET).bind(first).execute(connection).await?;
    Ok(first)
}
