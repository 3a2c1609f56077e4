//! The outbox as an operator sees it: what stands there, and what is done about it by hand.

use std::time::Duration;

use database::{Postgres, Transaction};
use proto::id::AccountId;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::outbox;
use crate::{
    order::{Action, Notice},
    storage::outbox::{Backlog, Resolved, STUCK_MAX, Waiting},
};

/// Each look-up has a partial index, in which the rows are not that their writers settle at once.
const BACKLOG: &str = "
    SELECT (SELECT count(*) FROM outbox WHERE refused IS NOT NULL) AS refused,
        coalesce((SELECT extract(epoch FROM now() - min(created_at)) FROM outbox WHERE attempts > 0), 0)::float8
            AS oldest_seconds";

const WAITING: &str = "
    SELECT * FROM outbox
    WHERE $1::bigint IS NULL OR (account_id, order_id, action) > ($1, $2::uuid, $3::text)
    ORDER BY account_id, order_id, action
    LIMIT $4";

const STUCK: &str = "
    SELECT * FROM outbox
    WHERE refused IS NOT NULL OR created_at < now() - make_interval(secs => $1)
    ORDER BY account_id, order_id, action
    LIMIT $2";

const HASTEN: &str = "
    UPDATE outbox SET due_at = now() WHERE account_id = $1 AND order_id = $2 RETURNING *";

const LOCK: &str = "
    SELECT * FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3 FOR UPDATE";

const RECORD: &str = "
    INSERT INTO settlement_resolutions (account_id, order_id, action, amount, refused, attempts, created_at, note)
    SELECT account_id, order_id, action, amount, refused, attempts, created_at, $4
    FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3";

const DELETE: &str = "DELETE FROM outbox WHERE account_id = $1 AND order_id = $2 AND action = $3";

pub(super) struct ReadBacklog;

impl Transaction<Postgres> for ReadBacklog {
    const NAME: &'static str = "read_backlog";
    type Output = Backlog;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Backlog> {
        let row = sqlx::query(BACKLOG).fetch_one(connection).await?;
        let oldest: f64 = row.try_get("oldest_seconds")?;
        Ok(Backlog {
            refused: row.try_get::<i64, _>("refused")?.unsigned_abs(),
            oldest: Duration::try_from_secs_f64(oldest).unwrap_or_default(),
        })
    }
}

pub(super) struct ReadWaiting<'a> {
    pub(super) after: Option<&'a Notice>,
    pub(super) limit: usize,
}

impl Transaction<Postgres> for ReadWaiting<'_> {
    const NAME: &'static str = "read_waiting";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
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

impl Transaction<Postgres> for ReadStuck {
    const NAME: &'static str = "read_stuck";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
        sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut *connection).await?;
        let query = sqlx::query(STUCK).bind(self.age_max.as_secs_f64()).bind(STUCK_MAX as i64);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }
}

pub(super) struct Hasten {
    pub(super) account: AccountId,
    pub(super) order_id: Uuid,
}

impl Transaction<Postgres> for Hasten {
    const NAME: &'static str = "hasten";
    type Output = Vec<Waiting>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<Waiting>> {
        let query = sqlx::query(HASTEN).bind(self.account.get()).bind(self.order_id);
        query.fetch_all(connection).await?.iter().map(waiting).collect()
    }
}

pub(super) struct Resolve<'a> {
    pub(super) account: AccountId,
    pub(super) order_id: Uuid,
    pub(super) action: Action,
    pub(super) note: &'a str,
}

impl Transaction<Postgres> for Resolve<'_> {
    const NAME: &'static str = "resolve";
    type Output = Resolved;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Resolved> {
        let Self { account, order_id, action, note } = self;
        let named =
            |query| sqlx::query(query).bind(account.get()).bind(*order_id).bind(action.as_str());

        let Some(row) = named(LOCK).fetch_optional(&mut *connection).await? else {
            return Ok(Resolved::Unknown);
        };
        let row = waiting(&row)?;
        if row.refused.is_none() {
            return Ok(Resolved::NotRefused);
        }

        named(RECORD).bind(*note).execute(&mut *connection).await?;
        named(DELETE).execute(connection).await?;
        Ok(Resolved::Done(row))
    }
}

fn waiting(row: &PgRow) -> sqlx::Result<Waiting> {
    Ok(Waiting {
        notice: outbox::notice(row)?,
        refused: row.try_get("refused")?,
        attempts: row.try_get("attempts")?,
        created_at: row.try_get("created_at")?,
        due_at: row.try_get("due_at")?,
    })
}
