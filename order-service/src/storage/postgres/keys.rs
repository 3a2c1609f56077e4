//! D, T1 and T5: reading keys, taking them over, handing them back.
//!
//! For a key whose row is gone its order speaks. It is looked for after the row, and only where there is none, so that
//! an order that is placed in between is seen.

use std::{collections::HashMap, time::Duration};

use database::{Postgres, Transaction};
use failpoint::{Safeguard, is_off};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{PgConnection, Row, query::Query};
use uuid::Uuid;

use super::{orders, rows};
use crate::{
    order::key::{Claim, KeyRow},
    storage::{KEY_DAYS, Overdue},
};

/// Should a key ever have two rows, the one that placed an order speaks for it, else the earlier.
///
/// Looked up key by key: as a plain join the planner may read the whole day in the order of its index.
const READ: &str = "
    SELECT k.*, k.lease_until <= now() AS lease_over
    FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys AS one
        WHERE one.account_id = c.account_id AND one.idempotency_key = c.idempotency_key
          AND one.day BETWEEN (now() AT TIME ZONE 'UTC')::date - $3 AND (now() AT TIME ZONE 'UTC')::date + 1
        ORDER BY one.status <> 'SUCCESS', one.day
        LIMIT 1
    ) AS k";

const TAKE_OVER: &str = "
    UPDATE idempotency_keys AS k
    SET fence = k.fence + 1, lease_until = now() + make_interval(secs => $5)
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[]) AS c (account_id, idempotency_key, day, fence)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.decided_at IS NULL AND k.lease_until <= now()
    RETURNING k.order_id, k.fence";

const HAND_BACK: &str = "
    UPDATE idempotency_keys AS k
    SET lease_until = now()
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[]) AS c (account_id, idempotency_key, day, fence)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.decided_at IS NULL";

const OVERDUE: &str = "
    SELECT k.*, TRUE AS lease_over, k.created_at <= now() - make_interval(secs => $1) AS give_up
    FROM idempotency_keys AS k
    WHERE k.status = 'PROCESSING' AND k.lease_until <= now()
    ORDER BY k.lease_until
    LIMIT $2";

pub(super) struct ReadKeys<'a> {
    pub(super) keys: &'a [(AccountId, IdempotencyKey)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ReadKeys<'_> {
    const NAME: &'static str = "read_keys";
    type Output = HashMap<(AccountId, IdempotencyKey), KeyRow>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let found = sqlx::query(READ)
            .bind(self.keys.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(self.keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .bind(KEY_DAYS as i32)
            .fetch_all(&mut *connection)
            .await?;
        let keyed = |row| {
            let row = rows::key_row(row, self.default)?;
            Ok(((row.claim.request.account, row.claim.request.key.clone()), row))
        };
        let mut found = found.iter().map(keyed).collect::<sqlx::Result<Self::Output>>()?;
        if is_off(Safeguard::OrderUnique) {
            return Ok(found);
        }
        let gone = self.keys.iter().filter(|name| !found.contains_key(*name));
        let gone = gone.map(|(account, key)| (*account, key));
        let placed = orders::by_keys(connection, gone, self.default).await?;
        found.extend(placed.into_iter().map(|(name, order)| (name, KeyRow::of_order(&order))));
        Ok(found)
    }
}

pub(super) struct TakeOver<'a> {
    pub(super) seen: &'a [Claim],
    pub(super) lease: Duration,
}

impl Transaction<Postgres> for TakeOver<'_> {
    const NAME: &'static str = "take_over";
    type Output = HashMap<Uuid, i32>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let taken = bind_claims(sqlx::query(TAKE_OVER), self.seen)
            .bind(self.lease.as_secs_f64())
            .fetch_all(connection)
            .await?;
        taken.iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("fence")?))).collect()
    }
}

pub(super) struct HandBack<'a> {
    pub(super) claims: &'a [Claim],
}

impl Transaction<Postgres> for HandBack<'_> {
    const NAME: &'static str = "hand_back";
    type Output = ();

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<()> {
        bind_claims(sqlx::query(HAND_BACK), self.claims).execute(connection).await.map(drop)
    }
}

pub(super) struct ReadOverdue {
    pub(super) limit: usize,
    pub(super) give_up: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ReadOverdue {
    const NAME: &'static str = "read_overdue";
    type Output = Vec<Overdue>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let found = sqlx::query(OVERDUE)
            .bind(self.give_up.as_secs_f64())
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &sqlx::postgres::PgRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row(row, self.default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }
}

/// A query with its arguments so far.
pub(super) type PgQuery<'q> = Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Binds what names a claim: `$1` account, `$2` key, `$3` day, `$4` fence.
pub(super) fn bind_claims<'q, 'a>(
    query: PgQuery<'q>,
    claims: impl IntoIterator<Item = &'a Claim, IntoIter: Clone>,
) -> PgQuery<'q> {
    let claims = claims.into_iter();
    query
        .bind(claims.clone().map(|claim| claim.request.account.get()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.request.key.as_str()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.day).collect::<Vec<_>>())
        .bind(claims.map(|claim| claim.fence).collect::<Vec<_>>())
}
