//! D, T1 and T5: reading keys, taking them over, handing them back.
//!
//! For a key whose row is gone its order speaks. It is looked for after the row, and only where there is none, so that
//! an order that is placed in between is seen.

use std::{collections::HashSet, time::Duration};

use database::{Postgres, Transaction};
use failpoint::{Safeguard, is_off};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{PgConnection, Row, postgres::PgRow, query::Query};
use uuid::Uuid;

use super::{orders, rows};
use crate::{
    order::key::{Claim, KeyRow},
    storage::{Overdue, found::Found},
};

/// Should a key ever have two rows, the one that placed an order speaks for it, else the earlier.
///
/// A row speaks for its key as long as it is there. Looked up key by key: as a plain join the planner may read the whole day in the order of its index.
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
    SET fence = k.fence + 1, lease_until = now() + make_interval(secs => $6)
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[])
        AS c (account_id, idempotency_key, day, fence, order_id)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.order_id = c.order_id AND k.decided_at IS NULL AND k.lease_until <= now()
    RETURNING k.order_id, k.day, k.fence - 1 AS seen";

const HAND_BACK: &str = "
    UPDATE idempotency_keys AS k
    SET lease_until = now()
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

pub(super) struct ReadKeys<'a> {
    pub(super) keys: &'a [(AccountId, IdempotencyKey)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Postgres> for ReadKeys<'_> {
    const NAME: &'static str = "read_keys";
    type Output = Vec<Option<KeyRow>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let found = sqlx::query(READ)
            .bind(self.keys.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(self.keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        let keyed = |row| {
            let row = rows::key_row(row, self.default)?;
            Ok(((row.claim.request.account, row.claim.request.key.clone()), row))
        };
        let mut found = found.iter().map(keyed).collect::<sqlx::Result<Found<_, _>>>()?;
        if is_off(Safeguard::OrderUnique) {
            return Ok(found.answers(self.keys));
        }

        let gone = found.missing(self.keys);
        let gone = gone.iter().map(|(account, key)| (*account, key));
        let placed = orders::by_keys(connection, gone, self.default).await?;
        found.extend(placed.into_iter().map(|(name, order)| (name, KeyRow::of_order(&order))));
        Ok(found.answers(self.keys))
    }
}

pub(super) struct TakeOver<'a> {
    pub(super) seen: &'a [Claim],
    pub(super) lease: Duration,
}

impl Transaction<Postgres> for TakeOver<'_> {
    const NAME: &'static str = "take_over";
    type Output = Vec<Option<Claim>>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Self::Output> {
        let taken = bind_claims(sqlx::query(TAKE_OVER), self.seen)
            .bind(self.lease.as_secs_f64())
            .fetch_all(connection)
            .await?;
        let seen =
            |row: &PgRow| Ok((row.try_get("order_id")?, row.try_get("day")?, row.try_get("seen")?));
        let mut taken = taken.iter().map(seen).collect::<sqlx::Result<HashSet<_>>>()?;
        // One of equal claims takes the key over. The others come too late.
        let mut take = |claim: &Claim| {
            let is_taken = taken.remove(&(claim.order_id, claim.day, claim.fence));
            is_taken.then(|| Claim { fence: claim.fence + 1, ..claim.clone() })
        };
        Ok(self.seen.iter().map(&mut take).collect())
    }
}

pub(super) struct Amend<'a> {
    pub(super) claims: &'a [Claim],
}

impl Transaction<Postgres> for Amend<'_> {
    const NAME: &'static str = "amend";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<bool>> {
        let amended = bind_claims(sqlx::query(AMEND), self.claims)
            .bind(self.claims.iter().map(|claim| claim.amount.decimal()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;

        let held = amended.iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("fence")?)));
        let held: HashSet<(Uuid, i32)> = held.collect::<sqlx::Result<_>>()?;
        Ok(self.claims.iter().map(|claim| held.contains(&(claim.order_id, claim.fence))).collect())
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
        .bind(claims.clone().map(|claim| claim.day).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.fence).collect::<Vec<_>>())
        .bind(claims.map(|claim| claim.order_id).collect::<Vec<_>>())
}
