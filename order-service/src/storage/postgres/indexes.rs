//! Indexes that are built while orders are placed.
//!
//! Inside a migration's transaction a build would lock its table for as long as it takes. Here it locks nobody out, and may
//! take as long as it likes. A build that is interrupted leaves an invalid index behind; the next `migrate` drops it and
//! begins anew. One process builds at a time. The others ask again and again whether it is done: did they wait inside the
//! database, the build would wait for them.

use std::time::Duration;

use database::{Backend, PgOptions, Postgres};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

/// Lists an account's orders newest first. It is on a sum so that nothing but the list can use it: on an empty table the
/// planner takes any index that begins with the account for as good as the one that names the order, and the plan stays.
const CREATE: &str =
    "CREATE INDEX CONCURRENTLY orders_by_age ON orders ((account_id + 0), created_at, order_id)";

const DROP: &str = "DROP INDEX CONCURRENTLY orders_by_age";

/// NULL: there is none.
const IS_VALID: &str = "
    SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('orders_by_age'))";

/// Lets one process at a time build; any number that nothing else uses.
const LOCK: &str = "SELECT pg_try_advisory_lock(5165082307)";

const UNLOCK: &str = "SELECT pg_advisory_unlock(5165082307)";

/// Between two looks at what another process builds, and how many there are: an hour in all.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 4 * 60 * 60;

/// Builds what is missing.
pub(super) async fn build(options: &PgOptions) -> sqlx::Result<()> {
    let mut connection = Postgres::connect(options).await?;
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0")
        .execute(&mut connection)
        .await?;
    for _ in 0..LOOKS {
        if is_valid(&mut connection).await? == Some(true) {
            return connection.close().await;
        }
        if sqlx::query_scalar(LOCK).fetch_one(&mut connection).await? {
            build_locked(&mut connection).await?;
            sqlx::raw_sql(UNLOCK).execute(&mut connection).await?;
            return connection.close().await;
        }
        sleep(LOOK).await;
    }
    Err(sqlx::Error::Protocol("another process has been building an index for an hour".into()))
}

async fn build_locked(connection: &mut PgConnection) -> sqlx::Result<()> {
    match is_valid(connection).await? {
        Some(true) => return Ok(()),
        Some(false) => sqlx::raw_sql(DROP).execute(&mut *connection).await.map(drop)?,
        None => {}
    }
    sqlx::raw_sql(CREATE).execute(connection).await.map(drop)
}

async fn is_valid(connection: &mut PgConnection) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(IS_VALID).fetch_one(connection).await
}
