//! The outbox: what the account service must still be told.
//!
//! A row is written with a lease for the process that wrote it, which tells the account service at once and deletes
//! the row. A row that is tried again and again is leased longer each time, up to eight times as long. Only when that process dies or fails does the row fall due for somebody else.

use std::{collections::HashSet, time::Duration};

use database::{Postgres, Transaction};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{keys::PgQuery, rows};
use crate::{
    order::{Action, Notice},
    storage::outbox::{REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RefusedNotice},
};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at)
    SELECT c.*, now() + make_interval(secs => $5)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[]) AS c";

/// Columns are named: a plan that answers all of them does not outlive a migration that adds one.
const LEASE: &str = "
    WITH due AS MATERIALIZED (
        SELECT account_id, order_id, action FROM outbox
        WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox AS o
    SET attempts = o.attempts + 1, due_at = now() + make_interval(secs => $1 * least(o.attempts + 1, 8))
    FROM due
    WHERE o.account_id = due.account_id AND o.order_id = due.order_id AND o.action = due.action
    RETURNING o.account_id, o.order_id, o.action, o.amount";

const FINISH: &str = "
    DELETE FROM outbox AS o
    USING UNNEST($1::bigint[], $2::uuid[], $3::text[]) AS c (account_id, order_id, action)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.action = c.action";

/// Rows are locked in the order of their keys. A notice that its writer tells for the first time has no attempt yet.
const REFUSE: &str = "
    WITH told AS (
        SELECT o.account_id, o.order_id, o.action, o.refused, c.reason, greatest(o.attempts, 1) AS attempts
        FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::text[]) AS c (account_id, order_id, action, reason)
        JOIN outbox AS o USING (account_id, order_id, action)
        ORDER BY o.account_id, o.order_id, o.action
        FOR NO KEY UPDATE OF o
    )
    UPDATE outbox AS o
    SET refused = t.reason, attempts = t.attempts,
        due_at = now() + make_interval(secs => least($6, $5 * 2 ^ least(t.attempts - 1, 30)))
    FROM told AS t
    WHERE o.account_id = t.account_id AND o.order_id = t.order_id AND o.action = t.action
    RETURNING o.account_id, o.order_id, o.action, o.amount, t.refused IS DISTINCT FROM t.reason AS is_new";

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

pub(super) struct RefuseNotices<'a> {
    pub(super) refused: &'a [RefusedNotice],
}

impl Transaction<Postgres> for RefuseNotices<'_> {
    const NAME: &'static str = "refuse_notices";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<bool>> {
        let notices: Vec<_> = self.refused.iter().map(|refused| &refused.notice).collect();
        let reasons: Vec<_> = self.refused.iter().map(|refused| refused.reason.as_str()).collect();
        let written = bind_names(sqlx::query(REFUSE), &notices)
            .bind(reasons)
            .bind(REFUSED_PAUSE_MIN.as_secs_f64())
            .bind(REFUSED_PAUSE_MAX.as_secs_f64())
            .fetch_all(connection)
            .await?;

        let mut new = HashSet::new();
        for row in written {
            let Notice { account, order_id, action, .. } = notice(&row)?;
            if row.try_get("is_new")? {
                new.insert((account, order_id, action));
            }
        }
        // Only the first of equal ones is new.
        let is_new = |it: &Notice| new.remove(&(it.account, it.order_id, it.action));
        Ok(notices.into_iter().map(is_new).collect())
    }
}

/// Binds what names a row: `$1` account, `$2` order, `$3` action.
fn bind_names<'q>(query: PgQuery<'q>, notices: &[&Notice]) -> PgQuery<'q> {
    query
        .bind(notices.iter().map(|notice| notice.account.get()).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.order_id).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.action.as_str()).collect::<Vec<_>>())
}

pub(super) fn notice(row: &PgRow) -> sqlx::Result<Notice> {
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
