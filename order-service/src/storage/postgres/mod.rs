//! The orders' tables on PostgreSQL: every batch is a handful of statements over `UNNEST`ed arrays, whatever its size.

mod catalogue;
mod claim;
mod decide;
mod in_orders;
mod indexes;
mod keys;
mod layout;
mod lifetimes;
#[cfg(feature = "failpoints")]
mod mutants;
mod notice_batches;
mod orders;
mod outbox;
mod partitions;
mod rows;
mod settlements;
mod verify;
mod workers;

use std::time::Duration;

use database::{DatabaseUrl, PgOptions, Postgres};
use sqlx::{PgConnection, Row, migrate::Migrator};

use super::{outbox::Waiting, tables::Tables};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

const STUCK: &str = "
    SELECT * FROM notices
    WHERE refused IS NOT NULL OR created_at < now() - make_interval(secs => $1)
    ORDER BY account_id, order_id, action
    LIMIT $2";

impl Tables for Postgres {
    // Several pods start at once, and who may change the schema is a decision of operations.
    const MIGRATES_AT_START: bool = false;
    const WRITERS_MAX: usize = 64;
    const BATCH_IS_A_STATEMENT: bool = true;

    // The planner holds the two columns that orders, payments and keys are joined by for independent, expects next to no
    // row that agrees in both, and would compare every order with all keys of its account: with ten million orders it does
    // not end.
    const BEGIN_SNAPSHOT: &'static str = "
        BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
        SET LOCAL statement_timeout = 0;
        SET LOCAL enable_nestloop = off";

    const CHECKS: &'static [(&'static str, &'static str)] = verify::CHECKS;

    fn migrator() -> &'static Migrator {
        &MIGRATIONS
    }

    fn options(url: &DatabaseUrl) -> Option<PgOptions> {
        let DatabaseUrl::Postgres(address) = url else { return None };
        Some(Postgres::options((**address).clone(), "order-service"))
    }

    async fn check(
        connection: &mut PgConnection,
        query: &'static str,
    ) -> sqlx::Result<Vec<String>> {
        let found = sqlx::query(query).fetch_all(connection).await?;
        found.iter().map(|row| row.try_get("row")).collect()
    }

    async fn stuck(
        connection: &mut PgConnection,
        age_max: Duration,
        limit: usize,
    ) -> sqlx::Result<Vec<Waiting>> {
        let query = sqlx::query(STUCK).bind(age_max.as_secs_f64()).bind(limit as i64);
        query.fetch_all(connection).await?.iter().map(settlements::waiting).collect()
    }
}
