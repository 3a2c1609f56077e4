//! The orders' tables in one SQLite file: for a single node, tests and the demo.
//!
//! There is one writer at a time in the whole file, whichever process it is in, so nothing needs a lock. Where orders
//! come in numbers, a batch goes in as JSON through `json_each`, one statement a table: each statement is a hop to sqlx's
//! thread, a row is not. Other batches are plain loops. Every commit is flushed to disk; batches share the flush.

mod catalogue;
mod claim;
mod decide;
mod in_orders;
mod keys;
mod layout;
#[cfg(feature = "failpoints")]
mod mutants;
mod notice_batches;
mod orders;
mod outbox;
mod rows;
mod settlements;
mod upkeep;
mod verify;
mod workers;

use std::time::Duration;

use database::{DatabaseUrl, Sqlite};
use sqlx::{Row, SqliteConnection, migrate::Migrator, sqlite::SqliteConnectOptions};

use super::{outbox::Waiting, tables::Tables};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

const STUCK: &str = "
    SELECT * FROM notices
    WHERE refused IS NOT NULL OR created_at < ?1
    ORDER BY account_id, order_id, action
    LIMIT ?2";

impl Tables for Sqlite {
    const MIGRATES_AT_START: bool = true;
    // The file has one writer at a time. A second connection would only wait for the first.
    const WRITERS_MAX: usize = 1;
    const BATCH_IS_A_STATEMENT: bool = false;
    const BEGIN_SNAPSHOT: &'static str = "BEGIN DEFERRED";
    const CHECKS: &'static [(&'static str, &'static str)] = verify::CHECKS;

    fn migrator() -> &'static Migrator {
        &MIGRATIONS
    }

    fn options(url: &DatabaseUrl) -> Option<SqliteConnectOptions> {
        let DatabaseUrl::Sqlite(path) = url else { return None };
        Some(Sqlite::options(path))
    }

    async fn check(
        connection: &mut SqliteConnection,
        query: &'static str,
    ) -> sqlx::Result<Vec<String>> {
        let found = sqlx::query(query).fetch_all(connection).await?;
        found.iter().map(|row| row.try_get("row")).collect()
    }

    async fn stuck(
        connection: &mut SqliteConnection,
        age_max: Duration,
        limit: usize,
    ) -> sqlx::Result<Vec<Waiting>> {
        let since = rows::now(connection).await? - rows::micros(age_max);
        let query = sqlx::query(STUCK).bind(since).bind(limit as i64);
        query.fetch_all(connection).await?.iter().map(settlements::waiting).collect()
    }
}
