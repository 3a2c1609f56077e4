//! Keys as rows of orders.
//!
//! Orders are named by their ids wherever these are known, so that an update looks them up in one index and changes none.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use database::Postgres;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{keys::PgQuery, rows};
use crate::{
    order::{
        decision::Settlement,
        key::{Claim, Home, KeyRow, Outcome},
        request::Price,
    },
    storage::{
        Layout, NewClaim, Overdue,
        tables::{Begun, Hold, KeysInOrders, TakenInOrders},
    },
};

/// The batch names what is asked for, before it is known what goes through: an order belongs to the batch that its row
/// names. The look among the keys is a scalar subquery, so that it is made key by key.
const CLAIM: &str = "
    WITH ended AS (
        DELETE FROM claim_batches WHERE batch_id = ANY($10)
    ), begun AS (
        INSERT INTO claim_batches (lease_until, accounts, orders, keys, owner)
        VALUES (
            now() + make_interval(secs => $8), $1, $3, $2,
            (SELECT worker_id FROM workers WHERE worker_id = $11 AND ended_at IS NULL)
        )
        RETURNING batch_id
    ), claimed AS (
        INSERT INTO orders (
            account_id, order_id, idempotency_key, amount, basket, currency, status, created_at, fence, batch
        )
        SELECT
            c.account_id, c.order_id, c.idempotency_key, c.amount, c.basket, c.currency, 'PROCESSING', now(), c.fence,
            (SELECT batch_id FROM begun)
        FROM UNNEST($1::bigint[], $2::text[], $3::uuid[], $4::numeric[], $5::text[], $6::text[], $7::int[])
            AS c (account_id, idempotency_key, order_id, amount, basket, currency, fence)
        WHERE (SELECT claims FROM layout) = $9
          AND (
            SELECT k.day FROM idempotency_keys AS k
            WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key
              AND k.day <= (now() AT TIME ZONE 'UTC')::date + 1
            LIMIT 1
        ) IS NULL
        ON CONFLICT DO NOTHING
        RETURNING order_id, created_at
    )
    SELECT begun.batch_id, claimed.order_id, claimed.created_at FROM begun LEFT JOIN claimed ON TRUE";

/// The payment of an order whose key was claimed among the keys is a row of its own. NULL: its payment is not known here.
macro_rules! columns {
    () => {
        "o.account_id, o.order_id, o.idempotency_key, o.amount, o.currency, o.basket, o.status, o.created_at, o.outcome,
        coalesce(o.fence, 0) AS fence, coalesce(o.batch, 0) AS batch,
        coalesce(o.payment, (
            SELECT p.payment_id FROM payments AS p WHERE p.account_id = o.account_id AND p.order_id = o.order_id
        )) AS payment_id"
    };
}

const READ: &str = concat!(
    "
    SELECT ",
    columns!(),
    ", coalesce((SELECT b.lease_until <= now() FROM claim_batches AS b WHERE b.batch_id = o.batch), TRUE) AS lease_over
    FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
    CROSS JOIN LATERAL (
        SELECT * FROM orders AS one
        WHERE one.account_id = c.account_id AND one.idempotency_key = c.idempotency_key
        OFFSET 0
    ) AS o"
);

const TAKE_OVER: &str = "
    WITH begun AS (
        INSERT INTO claim_batches (lease_until, accounts, orders, keys, owner)
        VALUES (
            now() + make_interval(secs => $5), $1, $2, $4,
            (SELECT worker_id FROM workers WHERE worker_id = $6 AND ended_at IS NULL)
        )
        RETURNING batch_id
    )
    UPDATE orders AS o
    SET fence = o.fence + 1, batch = (SELECT batch_id FROM begun)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[]) AS c (account_id, order_id, fence, idempotency_key)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.idempotency_key = c.idempotency_key
      AND o.fence = c.fence AND o.status = 'PROCESSING'
      AND coalesce((SELECT b.lease_until <= now() FROM claim_batches AS b WHERE b.batch_id = o.batch), TRUE)
    RETURNING o.order_id, o.fence - 1 AS seen, o.created_at, o.batch";

const HAND_BACK: &str = "
    WITH begun AS (
        INSERT INTO claim_batches (lease_until, accounts, orders, keys)
        VALUES (now(), $1, $2, $4)
        RETURNING batch_id
    )
    UPDATE orders AS o
    SET batch = (SELECT batch_id FROM begun)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[]) AS c (account_id, order_id, fence, idempotency_key)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.idempotency_key = c.idempotency_key
      AND o.fence = c.fence AND o.status = 'PROCESSING'";

const AMEND: &str = "
    WITH begun AS (
        INSERT INTO claim_batches (lease_until, accounts, orders, keys, owner)
        VALUES (
            now() + make_interval(secs => $6), $1, $2, $4,
            (SELECT worker_id FROM workers WHERE worker_id = $7 AND ended_at IS NULL)
        )
        RETURNING batch_id
    )
    UPDATE orders AS o
    SET order_id = c.order_id, amount = c.amount, batch = (SELECT batch_id FROM begun)
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::numeric[])
        AS c (account_id, order_id, fence, idempotency_key, amount)
    WHERE o.account_id = c.account_id AND o.idempotency_key = c.idempotency_key AND o.fence = c.fence
      AND o.status = 'PROCESSING'
    RETURNING o.order_id, o.fence";

/// Of batches whose lease is over, those that nothing undecided names. Nothing ever joins a batch later.
const FORGET: &str = "
    WITH due AS MATERIALIZED (
        SELECT batch_id FROM claim_batches WHERE lease_until <= now()
        ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM claim_batches AS b USING due
    WHERE b.batch_id = due.batch_id AND (
        SELECT o.order_id
        FROM UNNEST(b.accounts, b.orders, b.keys) AS c (account_id, order_id, idempotency_key)
        CROSS JOIN LATERAL (
            SELECT one.order_id FROM orders AS one
            WHERE one.account_id = c.account_id AND one.order_id = c.order_id
              AND one.idempotency_key = c.idempotency_key AND one.status = 'PROCESSING' AND one.batch = b.batch_id
            OFFSET 0
        ) AS o
        LIMIT 1
    ) IS NULL";

const OVERDUE: &str = concat!(
    "
    SELECT ",
    columns!(),
    ", TRUE AS lease_over, o.created_at <= now() - make_interval(secs => $1) AS give_up
    FROM (
        SELECT batch_id, accounts, orders, keys FROM claim_batches
        WHERE lease_until <= now() ORDER BY lease_until LIMIT $2
    ) AS b
    CROSS JOIN LATERAL UNNEST(b.accounts, b.orders, b.keys) AS c (account_id, order_id, idempotency_key)
    CROSS JOIN LATERAL (
        SELECT * FROM orders AS one
        WHERE one.account_id = c.account_id AND one.order_id = c.order_id
          AND one.idempotency_key = c.idempotency_key AND one.status = 'PROCESSING' AND one.batch = b.batch_id
        OFFSET 0
    ) AS o
    LIMIT $2"
);

/// Changes no column that an index has.
const EXPECT: &str = "
    UPDATE orders AS o
    SET status = c.status, payment = c.payment, outcome = c.outcome
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::uuid[], $7::text[])
        AS c (account_id, order_id, fence, idempotency_key, status, payment, outcome)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.idempotency_key = c.idempotency_key
      AND o.fence = c.fence AND o.status = 'PROCESSING'
    RETURNING o.order_id, o.fence";

const CORRECT: &str = "
    UPDATE orders AS o
    SET status = c.status, payment = c.payment, outcome = c.outcome
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::uuid[], $7::text[])
        AS c (account_id, order_id, fence, idempotency_key, status, payment, outcome)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.idempotency_key = c.idempotency_key
      AND o.fence = c.fence";

/// Under the day of the decision: an undecided key holds no partition.
const KEEP_REFUSALS: &str = "
    WITH leaving AS (
        INSERT INTO refused_batches (due_at, accounts, orders, keys)
        VALUES (now() + make_interval(secs => $6), $1, $2, $4)
    )
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, day, order_id, status, fence, lease_until, digest, amount, currency, request,
        response, created_at, decided_at
    )
    SELECT
        o.account_id, o.idempotency_key, (now() AT TIME ZONE 'UTC')::date, o.order_id, 'FAILED', o.fence, now(), c.digest,
        o.amount, o.currency, o.basket, o.outcome, o.created_at, o.created_at
    FROM UNNEST($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::bytea[])
        AS c (account_id, order_id, fence, idempotency_key, digest)
    CROSS JOIN LATERAL (
        SELECT * FROM orders AS one
        WHERE one.account_id = c.account_id AND one.order_id = c.order_id
          AND one.idempotency_key = c.idempotency_key AND one.fence = c.fence AND one.status = 'REFUSED'
        OFFSET 0
    ) AS o
    ON CONFLICT DO NOTHING";

const LEAVE: &str = "
    WITH due AS (
        DELETE FROM refused_batches WHERE batch_id = ANY (ARRAY(
            SELECT batch_id FROM refused_batches WHERE due_at <= now()
            ORDER BY batch_id LIMIT $1 FOR UPDATE SKIP LOCKED
        ))
        RETURNING accounts, orders, keys
    )
    DELETE FROM orders AS o
    USING due CROSS JOIN LATERAL UNNEST(due.accounts, due.orders, due.keys) AS c (account_id, order_id, idempotency_key)
    WHERE o.account_id = c.account_id AND o.order_id = c.order_id AND o.idempotency_key = c.idempotency_key
      AND o.status = 'REFUSED'";

impl KeysInOrders for Postgres {
    async fn claim_in_orders(
        connection: &mut PgConnection,
        claims: &[(&NewClaim, Price)],
        Hold { lease, owner }: Hold,
        layout: Layout,
        ended: &[i64],
    ) -> sqlx::Result<Begun> {
        let begun = sqlx::query(CLAIM)
            .bind(claims.iter().map(|(c, _)| c.request.account.get()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.request.key.as_str()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.order_id).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, price)| price.amount.decimal()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.request.basket.to_json()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, price)| price.currency.code()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.fence).collect::<Vec<_>>())
            .bind(lease.as_secs_f64())
            .bind(layout.as_str())
            .bind(ended)
            .bind(owner)
            .fetch_all(connection)
            .await?;

        let batch = begun.first().ok_or(sqlx::Error::RowNotFound)?.try_get("batch_id")?;
        let mut homes = HashMap::new();
        for row in &begun {
            // Nothing went through.
            let Some(order_id) = row.try_get::<Option<Uuid>, _>("order_id")? else { continue };
            let claimed_at = row.try_get("created_at")?;
            homes.insert(order_id, Home::Orders { claimed_at, batch });
        }
        Ok(Begun { batch, homes })
    }

    async fn keys_in_orders(
        connection: &mut PgConnection,
        keys: &[&(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Vec<KeyRow>> {
        let found = sqlx::query(READ)
            .bind(keys.iter().map(|(account, _)| account.get()).collect::<Vec<_>>())
            .bind(keys.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        found.iter().map(|row| rows::key_row_in_orders(row, default)).collect()
    }

    async fn take_over_in_orders(
        connection: &mut PgConnection,
        seen: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<TakenInOrders> {
        let taken = bind_claims(sqlx::query(TAKE_OVER), seen.iter().copied())
            .bind(lease.as_secs_f64())
            .bind(owner)
            .fetch_all(connection)
            .await?;
        let home = |row: &PgRow| {
            let (claimed_at, batch) = (row.try_get("created_at")?, row.try_get("batch")?);
            let seen = (row.try_get("order_id")?, row.try_get("seen")?);
            Ok((seen, Home::Orders { claimed_at, batch }))
        };
        taken.iter().map(home).collect()
    }

    async fn amend_in_orders(
        connection: &mut PgConnection,
        claims: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let amended = bind_claims(sqlx::query(AMEND), claims.iter().copied())
            .bind(claims.iter().map(|claim| claim.amount.decimal()).collect::<Vec<_>>())
            .bind(lease.as_secs_f64())
            .bind(owner)
            .fetch_all(connection)
            .await?;
        amended.iter().map(rows::held).collect()
    }

    async fn hand_back_in_orders(
        connection: &mut PgConnection,
        claims: &[&Claim],
    ) -> sqlx::Result<()> {
        bind_claims(sqlx::query(HAND_BACK), claims.iter().copied())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn overdue_in_orders(
        connection: &mut PgConnection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> sqlx::Result<Vec<Overdue>> {
        sqlx::query(FORGET).execute(&mut *connection).await?;
        let found = sqlx::query(OVERDUE)
            .bind(give_up.as_secs_f64())
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &PgRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row_in_orders(row, default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }

    async fn expect_in_orders(
        connection: &mut PgConnection,
        settlements: &[&Settlement],
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let outcomes: Vec<_> = settlements.iter().map(|s| s.expected()).collect();
        let outcomes: Vec<_> = settlements.iter().map(|s| &s.claim).zip(&outcomes).collect();
        let expect = EXPECT;
        #[cfg(feature = "failpoints")]
        let expect = super::mutants::expect(expect);
        let held = bind_outcomes(sqlx::query(expect), &outcomes).fetch_all(connection).await?;
        held.iter().map(rows::held).collect()
    }

    async fn correct_in_orders(
        connection: &mut PgConnection,
        failed: &[(&Claim, &Outcome)],
    ) -> sqlx::Result<()> {
        bind_outcomes(sqlx::query(CORRECT), failed).execute(connection).await.map(drop)
    }

    async fn keep_refusals(
        connection: &mut PgConnection,
        refused: &[&Claim],
        stay: Duration,
    ) -> sqlx::Result<()> {
        let digests: Vec<_> = refused.iter().map(|claim| claim.request.digest()).collect();
        bind_claims(sqlx::query(KEEP_REFUSALS), refused.iter().copied())
            .bind(digests.iter().map(|digest| digest.as_bytes()).collect::<Vec<_>>())
            .bind(stay.as_secs_f64())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn let_refusals_leave(connection: &mut PgConnection, limit: usize) -> sqlx::Result<u64> {
        let left = sqlx::query(LEAVE).bind(limit as i64).execute(connection).await?;
        Ok(left.rows_affected())
    }
}

/// Binds what names a claim: `$1` account, `$2` order, `$3` fence, `$4` key. With the order and the key, whatever index the
/// planner takes on an empty table names one row.
fn bind_claims<'q, 'a>(
    query: PgQuery<'q>,
    claims: impl Iterator<Item = &'a Claim> + Clone,
) -> PgQuery<'q> {
    query
        .bind(claims.clone().map(|claim| claim.request.account.get()).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.order_id).collect::<Vec<_>>())
        .bind(claims.clone().map(|claim| claim.fence).collect::<Vec<_>>())
        .bind(claims.map(|claim| claim.request.key.as_str()).collect::<Vec<_>>())
}

/// Binds claims and what came of them: `$5` status, `$6` payment, `$7` outcome.
fn bind_outcomes<'q>(query: PgQuery<'q>, outcomes: &[(&Claim, &Outcome)]) -> PgQuery<'q> {
    bind_claims(query, outcomes.iter().map(|(claim, _)| *claim))
        .bind(outcomes.iter().map(|(_, outcome)| outcome.order_status()).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|(_, outcome)| outcome.payment_id()).collect::<Vec<_>>())
        .bind(outcomes.iter().map(|(_, outcome)| outcome.refusal_json()).collect::<Vec<_>>())
}
