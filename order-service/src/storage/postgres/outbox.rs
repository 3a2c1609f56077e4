//! The outbox: what the account service must still be told.
//!
//! A row is written with a lease for the process that wrote it, which tells the account service at once and deletes
//! the row. A row that is tried again and again is leased longer each time, up to eight times as long. Only when that process dies or fails does the row fall due for somebody else.

use std::time::Duration;

use database::{Postgres, Transaction};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{keys::PgQuery, rows};
use crate::order::{Action, Notice};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT c.*, now() + make_interval(secs => $5)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[]) AS c";

const LEASE: &str = "
    WITH due AS MATERIALIZED (
        SELECT account_id, order_id, action FROM outbox
        WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox AS o
    SET attempts = o.attempts + 1, due_at = now() + make_interval(secs => $1 * least(o.attempts + 1, 8))
    FROM due
    WHERE o.account_id = due.account_id AND o.order_id = due.order_id AND o.action = due.action
    RETURNING o.*";

const FINISH: &str = "
    DELETE FROM outbox AS o
    USING UNNEST($1::bigint[], $2::uuid[], $3::text[]) AS c (account_id, order_id, action)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.action = c.action";

/// Writes notices, leased to this process.
pub(super) async fn insert(
    connection: &mut PgConnection,
    notices: &[&Notice],
    lease: Duration,
) -> sqlx::Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    bind_names(sqlx::query(INSERT), notices)
        .bind(notices.iter().map(|notice| notice.amount.decimal()).collect::<Vec<_>>())
        .bind(lease.as_secs_f64())
        .execute(connection)
        .await
        .map(drop)
}

pub(super) struct LeaseNotices {
    pub(super) limit: usize,
    pub(super) lease: Duration,
}

impl Transaction<Postgres> for LeaseNotices {
    const NAME: &'static str = "lease_notices";
    type Output = Vec<Notice>;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let leased = sqlx::query(LEASE)
            .bind(self.lease.as_secs_f64())
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        leased.iter().map(notice).collect()
    }
}

pub(super) struct FinishNotices<'a> {
    pub(super) notices: &'a [Notice],
}

impl Transaction<Postgres> for FinishNotices<'_> {
    const NAME: &'static str = "finish_notices";
    type Output = ();

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let notices: Vec<_> = self.notices.iter().collect();
        bind_names(sqlx::query(FINISH), &notices).execute(connection).await.map(drop)
    }
}

/// Binds what names a row: `$1` account, `$2` order, `$3` action.
fn bind_names<'q>(query: PgQuery<'q>, notices: &[&Notice]) -> PgQuery<'q> {
    query
        .bind(notices.iter().map(|notice| notice.account.get()).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.order_id).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.action.as_str()).collect::<Vec<_>>())
}

fn notice(row: &PgRow) -> sqlx::Result<Notice> {
    let action: &str = row.try_get("action")?;
    Ok(Notice {
        account: rows::account(row)?,
        order_id: row.try_get("order_id")?,
        action: Action::ALL
            .into_iter()
            .find(|known| known.as_str() == action)
            .ok_or_else(|| rows::odd(action.to_owned()))?,
        amount: rows::money(row, "amount")?,
    })
}
