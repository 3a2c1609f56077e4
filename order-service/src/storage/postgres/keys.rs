//! D, T1 and T5: reading keys, taking them over, handing them back.

use std::{collections::HashSet, time::Duration};

use database::Postgres;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{PgConnection, Row, postgres::PgRow, query::Query};
use uuid::Uuid;

use super::rows;
use crate::{
    order::key::{Claim, KeyRow},
    storage::{
        Overdue,
        tables::{Hold, Keys, Taken},
    },
};

/// Should a key ever have two rows, the one that placed an order speaks for it, else the earlier.
///
/// A row speaks for its key as long as it is there. Looked up key by key: as a plain join the planner may read the whole day
/// in the order of its index.
const READ: &str = "
    SELECT k.*, k.lease_until <= now() AS lease_over
    FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys AS one
        WHERE one.account_id = c.account_id AND one.idempotency_key = c.idempotency_key
          AND one.day <= (now() AT TIME ZONE 'UTC')::date + 1
        ORDER BY one.status <> 'SUCCESS', one.day
        LIMIT 1
    ) AS k";

const TAKE_OVER: &str = "
    UPDATE idempotency_keys AS k
    SET fence = k.fence + 1, lease_until = now() + make_interval(secs => $6),
        owner = (SELECT worker_id FROM workers WHERE worker_id = $7 AND ended_at IS NULL)
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[])
        AS c (account_id, idempotency_key, day, fence, order_id)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.order_id = c.order_id AND k.decided_at IS NULL AND k.lease_until <= now()
    RETURNING k.order_id, k.day, k.fence - 1 AS seen";

const HAND_BACK: &str = "
    UPDATE idempotency_keys AS k
    SET lease_until = now(), owner = NULL
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[])
        AS c (account_id, idempotency_key, day, fence, order_id)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.order_id = c.order_id AND k.decided_at IS NULL";

const AMEND: &str = "
    UPDATE idempotency_keys AS k
    SET order_id = c.order_id, amount = c.amount
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[], $6::numeric[])
        AS c (account_id, idempotency_key, day, fence, order_id, amount)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.decided_at IS NULL
    RETURNING k.order_id, k.fence";

const OVERDUE: &str = "
    SELECT k.*, TRUE AS lease_over, k.created_at <= now() - make_interval(secs => $1) AS give_up
    FROM idempotency_keys AS k
    WHERE k.status = 'PROCESSING' AND k.lease_until <= now()
    ORDER BY k.lease_until
    LIMIT $2";

impl Keys for Postgres {
    async fn key_rows(
        connection: &mut PgConnection,
        keys: &[(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Vec<KeyRow>> {
        let found = sqlx::query(READ)
            .bind(keys.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        found.iter().map(|row| rows::key_row(row, default)).collect()
    }

    async fn take_over(
        connection: &mut PgConnection,
        seen: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<HashSet<Taken>> {
        let taken = bind_claims(sqlx::query(TAKE_OVER), seen.iter().copied())
            .bind(lease.as_secs_f64())
            .bind(owner)
            .fetch_all(connection)
            .await?;
        let seen =
            |row: &PgRow| Ok((row.try_get("order_id")?, row.try_get("day")?, row.try_get("seen")?));
        taken.iter().map(seen).collect()
    }

    async fn amend(
        connection: &mut PgConnection,
        claims: &[&Claim],
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let amended = bind_claims(sqlx::query(AMEND), claims.iter().copied())
            .bind(claims.iter().map(|claim| claim.amount.decimal()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        amended.iter().map(rows::held).collect()
    }

    async fn hand_back(connection: &mut PgConnection, claims: &[&Claim]) -> sqlx::Result<()> {
        bind_claims(sqlx::query(HAND_BACK), claims.iter().copied())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn overdue(
        connection: &mut PgConnection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> sqlx::Result<Vec<Overdue>> {
        let found = sqlx::query(OVERDUE)
            .bind(give_up.as_secs_f64())
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &PgRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row(row, default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }
}

/// A query with its arguments so far.
pub(super) type PgQuery<'q> = Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Binds what names a claim: `$1` account, `$2` key, `$3` day, `$4` fence, `$5` order. A row that was let go of and claimed
/// anew starts again at fence 1, so the fence alone does not name it.
pub(super) fn bind_claims<'q, 'a>(
    query: PgQuery<'q>,
    claims: impl IntoIterator<Item = &'a Claim, IntoIter: Clone>,
) -> PgQuery<'q> {
    let claims = claims.into_iter();
    query
        .bind(claims.clone().map(|claim| claim.request.account.get()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.request.key.as_str()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.day()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.fence).collect::<Vec<_>>())
        .bind(claims.map(|claim| claim.order_id).collect::<Vec<_>>())
}
