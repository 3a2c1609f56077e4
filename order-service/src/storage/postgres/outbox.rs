//! The outbox: what the account service must still be told.

use std::collections::HashSet;

use database::Postgres;
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{keys::PgQuery, rows};
use crate::{
    order::{Action, Notice},
    storage::{
        outbox::{REFUSED_PAUSE_MAX, REFUSED_PAUSE_MIN, RefusedNotice},
        tables::{Hold, NoticeName, Outbox},
    },
};

const INSERT: &str = "
    INSERT INTO outbox (account_id, order_id, action, amount, due_at, owner)
    SELECT c.*, now() + make_interval(secs => $5),
        (SELECT worker_id FROM workers WHERE worker_id = $6 AND ended_at IS NULL)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::text[], $4::numeric[]) AS c";

/// Columns are named: a plan that answers all of them does not outlive a migration that adds one.
const LEASE: &str = "
    WITH due AS MATERIALIZED (
        SELECT account_id, order_id, action FROM outbox
        WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
    UPDATE outbox AS o
    SET attempts = o.attempts + 1, due_at = now() + make_interval(secs => $1 * least(o.attempts + 1, 8)),
        owner = (SELECT worker_id FROM workers WHERE worker_id = $3 AND ended_at IS NULL)
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

impl Outbox for Postgres {
    async fn insert_notices(
        connection: &mut PgConnection,
        notices: &[&Notice],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<()> {
        bind_names(sqlx::query(INSERT), notices)
            .bind(notices.iter().map(|notice| notice.amount.decimal()).collect::<Vec<_>>())
            .bind(lease.as_secs_f64())
            .bind(owner)
            .execute(connection)
            .await
            .map(drop)
    }

    async fn lease_notices(
        connection: &mut PgConnection,
        limit: usize,
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<Vec<Notice>> {
        let leased = sqlx::query(LEASE)
            .bind(lease.as_secs_f64())
            .bind(limit as i64)
            .bind(owner)
            .fetch_all(connection)
            .await?;
        leased.iter().map(notice).collect()
    }

    async fn delete_notices(connection: &mut PgConnection, notices: &[Notice]) -> sqlx::Result<()> {
        let notices: Vec<_> = notices.iter().collect();
        bind_names(sqlx::query(FINISH), &notices).execute(connection).await.map(drop)
    }

    async fn refuse_notices(
        connection: &mut PgConnection,
        refused: &[RefusedNotice],
    ) -> sqlx::Result<HashSet<NoticeName>> {
        let notices: Vec<_> = refused.iter().map(|refused| &refused.notice).collect();
        let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.as_str()).collect();
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
        Ok(new)
    }
}

/// Binds what names a row: `$1` account, `$2` order, `$3` action.
pub(super) fn bind_names<'q>(query: PgQuery<'q>, notices: &[&Notice]) -> PgQuery<'q> {
    query
        .bind(notices.iter().map(|notice| notice.account.get()).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.order_id).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.action.as_str()).collect::<Vec<_>>())
}

pub(super) fn notice(row: &PgRow) -> sqlx::Result<Notice> {
    Ok(Notice {
        account: rows::account(row)?,
        order_id: row.try_get("order_id")?,
        action: action(row.try_get("action")?)?,
        amount: rows::money(row, "amount")?,
        batch: None,
    })
}

pub(super) fn action(name: &str) -> sqlx::Result<Action> {
    let known = Action::ALL.into_iter().find(|known| known.as_str() == name);
    known.ok_or_else(|| rows::odd(name.to_owned()))
}
