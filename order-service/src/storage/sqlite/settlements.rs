//! The outbox as an operator sees it. See `postgres/settlements.rs`.

use std::time::Duration;

use database::{Sqlite, Transaction};
use proto::id::AccountId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    outbox,
    rows::{self, Micros},
};
use crate::{
    order::{Action, Notice},
    storage::outbox::{Backlog, Resolved, STUCK_MAX, Waiting},
};

/// Each look-up has a partial index, in which the rows are not that their writers settle at once.
const BACKLOG: &str = "
    SELECT (SELECT count(*) FROM outbox WHERE refused IS NOT NULL) AS refused,
        (SELECT min(created_at) FROM outbox WHERE attempts > 0) AS oldest";

const WAITING: &str = "
    SELECT * FROM outbox
    WHERE ?1 IS NULL OR (account_id, order_id, action) > (?1, ?2, ?3)
    ORDER BY account_id, order_id, action
    LIMIT ?4";

const STUCK: &str = "
    SELECT * FROM outbox
    WHERE refused IS NOT NULL OR created_at < ?1
    ORDER BY account_id, order_id, action
    LIMIT ?2";

const HASTEN: &str = "
    UPDATE outbox SET due_at = ?3 WHERE account_id = ?1 AND order_id = ?2 RETURNING *";

const READ: &str = "SELECT * FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

const RECORD: &str = "
    INSERT INTO settlement_resolutions
        (account_id, order_id, action, amount, refused, attempts, created_at, note, resolved_at)
    SELECT account_id, order_id, action, amount, refused, attempts, created_at, ?4, ?5
    FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

const DELETE: &str = "DELETE FROM outbox WHERE account_id = ?1 AND order_id = ?2 AND action = ?3";

pub(super) struct ReadBacklog;

impl Transaction<Sqlite> for ReadBacklog {
    const NAME: &'static str = "read_backlog";
    type Output = Backlog;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Backlog> {
        let now = rows::now(connection).await?;
        let row = sqlx::query(BACKLOG).fetch_one(connection).await?;
        let oldest: Option<Micros> = row.try_get("oldest")?;
        let age = oldest.map_or(0, |oldest| now - oldest);
        Ok(Backlog {
            refused: row.try_get::<i64, _>("refused")?.unsigned_abs(),
            oldest: Duration::from_micros(u64::try_from(age).unwrap_or_default()),
        })
    }
}

pub(super) struct ReadWaiting<'a> {
    pub(super) after: Option<&'a Notice>,
    pub(super) limit: usize,
}

impl Transaction<Sqlite> for ReadWaiting<'_> {
    const NAME: &'static str = "read_waiting";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Waiting>> {
        let found = sqlx::query(WAITING)
            .bind(self.after.map(|notice| notice.account.get()))
            .bind(self.after.map(|notice| notice.order_id))
            .bind(self.after.map(|notice| notice.action.as_str()))
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        found.iter().map(waiting).collect()
    }
}

pub(super) struct ReadStuck {
    pub(super) age_max: Duration,
}

impl Transaction<Sqlite> for ReadStuck {
    const NAME: &'static str = "read_stuck";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Waiting>> {
        let since = rows::now(connection).await? - rows::micros(self.age_max);
        let query = sqlx::query(STUCK).bind(since).bind(STUCK_MAX as i64);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }
}

pub(super) struct Hasten {
    pub(super) account: AccountId,
    pub(super) order_id: Uuid,
}

impl Transaction<Sqlite> for Hasten {
    const NAME: &'static str = "hasten";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Waiting>> {
        let now = rows::now(connection).await?;
        let query = sqlx::query(HASTEN).bind(self.account.get()).bind(self.order_id).bind(now);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }
}

pub(super) struct Resolve<'a> {
    pub(super) account: AccountId,
    pub(super) order_id: Uuid,
    pub(super) action: Action,
    pub(super) note: &'a str,
}

impl Transaction<Sqlite> for Resolve<'_> {
    const NAME: &'static str = "resolve";
    type Output = Resolved;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Resolved> {
        let Self { account, order_id, action, note } = self;
        let now = rows::now(connection).await?;
        let named =
            |query| sqlx::query(query).bind(account.get()).bind(*order_id).bind(action.as_str());

        let Some(row) = named(READ).fetch_optional(&mut *connection).await? else {
            return Ok(Resolved::Unknown);
        };
        let row = waiting(&row)?;
        if row.refused.is_none() {
            return Ok(Resolved::NotRefused);
        }

        named(RECORD).bind(*note).bind(now).execute(&mut *connection).await?;
        named(DELETE).execute(connection).await?;
        Ok(Resolved::Done(row))
    }
}

fn waiting(row: &SqliteRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        notice: outbox::notice(row)?,
        refused: row.try_get("refused")?,
        attempts: row.try_get("attempts")?,
        created_at: rows::time(row.try_get("created_at")?)?,
        due_at: rows::time(row.try_get("due_at")?)?,
    })
}
