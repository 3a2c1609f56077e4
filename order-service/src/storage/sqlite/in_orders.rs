//! Keys as rows of orders.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use data_encoding::HEXLOWER;
use database::Sqlite;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::rows::{self, Micros};
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

const END: &str = "DELETE FROM claim_batches WHERE batch_id IN (SELECT value FROM json_each(?1))";

const BEGIN: &str =
    "INSERT INTO claim_batches (lease_until, orders, owner)
    VALUES (?1, ?2, (SELECT worker_id FROM workers WHERE worker_id = ?3 AND ended_at IS NULL)) RETURNING batch_id";

const CLAIM: &str = "
    INSERT INTO orders (
        account_id, idempotency_key, order_id, amount, basket, currency, status, created_at, fence, batch
    )
    SELECT
        c.value ->> 0, c.value ->> 1, unhex(c.value ->> 2), c.value ->> 3, c.value ->> 4, c.value ->> 5, 'PROCESSING', ?2,
        c.value ->> 6, ?3
    FROM json_each(?1) AS c
    WHERE (SELECT claims FROM layout) = ?4
      AND NOT EXISTS (
        SELECT 1 FROM idempotency_keys AS k
        WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
    )
    ON CONFLICT DO NOTHING
    RETURNING order_id";

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
    "SELECT ",
    columns!(),
    ", coalesce((SELECT b.lease_until <= ?2 FROM claim_batches AS b WHERE b.batch_id = o.batch), 1) AS lease_over
    FROM json_each(?1) AS c
    CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.idempotency_key = c.value ->> 1"
);

const TAKE_OVER: &str = "
    UPDATE orders AS o SET fence = o.fence + 1, batch = ?2
    FROM json_each(?1) AS c
    WHERE o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1) AND o.fence = c.value ->> 2
      AND o.status = 'PROCESSING'
      AND coalesce((SELECT b.lease_until <= ?3 FROM claim_batches AS b WHERE b.batch_id = o.batch), 1)
    RETURNING order_id, fence - 1 AS seen, created_at";

const HAND_BACK: &str = "
    UPDATE orders AS o SET batch = ?2
    FROM json_each(?1) AS c
    WHERE o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1) AND o.fence = c.value ->> 2
      AND o.status = 'PROCESSING'";

const AMEND: &str = "
    UPDATE orders AS o SET order_id = unhex(c.value ->> 1), amount = c.value ->> 4, batch = ?2
    FROM json_each(?1) AS c
    WHERE o.account_id = c.value ->> 0 AND o.idempotency_key = c.value ->> 3 AND o.fence = c.value ->> 2
      AND o.status = 'PROCESSING'
    RETURNING order_id, fence";

/// Of batches whose lease is over, those that nothing undecided names. Nothing ever joins a batch later.
const FORGET: &str = "
    DELETE FROM claim_batches WHERE lease_until <= ?1 AND NOT EXISTS (
        SELECT 1 FROM json_each(claim_batches.orders) AS c
        CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1)
        WHERE o.status = 'PROCESSING' AND o.batch = claim_batches.batch_id
    )";

const OVERDUE: &str = concat!(
    "SELECT ",
    columns!(),
    ", 1 AS lease_over, o.created_at <= ?1 - ?2 AS give_up
    FROM (SELECT * FROM claim_batches WHERE lease_until <= ?1 ORDER BY lease_until LIMIT ?3) AS b
    CROSS JOIN json_each(b.orders) AS c
    CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1)
    WHERE o.status = 'PROCESSING' AND o.batch = b.batch_id
    LIMIT ?3"
);

const EXPECT: &str = "
    UPDATE orders AS o SET status = c.value ->> 3, payment = unhex(c.value ->> 4), outcome = c.value ->> 5
    FROM json_each(?1) AS c
    WHERE o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1) AND o.fence = c.value ->> 2
      AND o.status = 'PROCESSING'
    RETURNING order_id, fence";

const CORRECT: &str = "
    UPDATE orders AS o SET status = c.value ->> 3, payment = unhex(c.value ->> 4), outcome = c.value ->> 5
    FROM json_each(?1) AS c
    WHERE o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1) AND o.fence = c.value ->> 2";

const KEEP_REFUSALS: &str = "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, order_id, status, fence, lease_until, digest, amount, currency, request, response,
        created_at, decided_at
    )
    SELECT
        o.account_id, o.idempotency_key, o.order_id, 'FAILED', o.fence, ?2, unhex(c.value ->> 3), o.amount, o.currency,
        o.basket, o.outcome, o.created_at, o.created_at
    FROM json_each(?1) AS c
    CROSS JOIN orders AS o ON o.account_id = c.value ->> 0 AND o.order_id = unhex(c.value ->> 1)
    WHERE o.fence = c.value ->> 2 AND o.status = 'REFUSED'
    ON CONFLICT DO NOTHING";

const LEAVING: &str = "INSERT INTO refused_batches (due_at, orders) VALUES (?1, ?2)";

const LEAVE: &str = "
    DELETE FROM orders WHERE status = 'REFUSED' AND (account_id, order_id) IN (
        SELECT c.value ->> 0, unhex(c.value ->> 1)
        FROM (SELECT * FROM refused_batches WHERE due_at <= ?1 ORDER BY batch_id LIMIT ?2) AS b
        CROSS JOIN json_each(b.orders) AS c
    )";

const LEFT: &str = "
    DELETE FROM refused_batches WHERE batch_id IN (
        SELECT batch_id FROM refused_batches WHERE due_at <= ?1 ORDER BY batch_id LIMIT ?2
    )";

impl KeysInOrders for Sqlite {
    async fn claim_in_orders(
        connection: &mut SqliteConnection,
        claims: &[(&NewClaim, Price)],
        Hold { lease, owner }: Hold,
        layout: Layout,
        ended: &[i64],
    ) -> sqlx::Result<Begun> {
        let now = rows::now(connection).await?;
        if !ended.is_empty() {
            sqlx::query(END).bind(json!(ended).to_string()).execute(&mut *connection).await?;
        }
        let names = claims.iter().map(|(claim, _)| name(claim.request.account, claim.order_id));
        let batch = begin(connection, names, now + rows::micros(lease), owner).await?;

        let claimed = sqlx::query(CLAIM)
            .bind(rows::table(claims.iter().map(new_row)))
            .bind(now)
            .bind(batch)
            .bind(layout.as_str())
            .fetch_all(connection)
            .await?;
        let home = Home::Orders { claimed_at: rows::time(now)?, batch };
        let homes = claimed.iter().map(|row| Ok((row.try_get("order_id")?, home)));
        Ok(Begun { batch, homes: homes.collect::<sqlx::Result<_>>()? })
    }

    async fn keys_in_orders(
        connection: &mut SqliteConnection,
        keys: &[&(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Vec<KeyRow>> {
        let now = rows::now(connection).await?;
        let keys = keys.iter().map(|(account, key)| json!([account.get(), key.as_str()]));
        let read = sqlx::query(READ).bind(rows::table(keys)).bind(now);
        let found = read.fetch_all(connection).await?;
        found.iter().map(|row| rows::key_row_in_orders(row, default)).collect()
    }

    async fn take_over_in_orders(
        connection: &mut SqliteConnection,
        seen: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<TakenInOrders> {
        let now = rows::now(connection).await?;
        let batch = begin(connection, names(seen), now + rows::micros(lease), owner).await?;
        let taken = sqlx::query(TAKE_OVER)
            .bind(rows::table(seen.iter().map(|claim| row(claim))))
            .bind(batch)
            .bind(now)
            .fetch_all(connection)
            .await?;
        let home = |row: &SqliteRow| {
            let claimed_at = rows::time(row.try_get("created_at")?)?;
            let seen = (row.try_get("order_id")?, row.try_get("seen")?);
            Ok((seen, Home::Orders { claimed_at, batch }))
        };
        taken.iter().map(home).collect::<sqlx::Result<HashMap<_, _>>>()
    }

    async fn amend_in_orders(
        connection: &mut SqliteConnection,
        claims: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let now = rows::now(connection).await?;
        let batch = begin(connection, names(claims), now + rows::micros(lease), owner).await?;
        let amended = |claim: &&Claim| {
            let Claim { request, order_id, fence, amount, .. } = claim;
            let (account, order) = (request.account.get(), rows::id(*order_id));
            json!([account, order, fence, request.key.as_str(), amount.units()])
        };
        let amended = sqlx::query(AMEND)
            .bind(rows::table(claims.iter().map(amended)))
            .bind(batch)
            .fetch_all(connection)
            .await?;
        amended.iter().map(held).collect()
    }

    async fn hand_back_in_orders(
        connection: &mut SqliteConnection,
        claims: &[&Claim],
    ) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        let batch = begin(connection, names(claims), now, None).await?;
        sqlx::query(HAND_BACK)
            .bind(rows::table(claims.iter().map(|claim| row(claim))))
            .bind(batch)
            .execute(connection)
            .await
            .map(drop)
    }

    async fn overdue_in_orders(
        connection: &mut SqliteConnection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> sqlx::Result<Vec<Overdue>> {
        let now = rows::now(connection).await?;
        sqlx::query(FORGET).bind(now).execute(&mut *connection).await?;
        let found = sqlx::query(OVERDUE)
            .bind(now)
            .bind(rows::micros(give_up))
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &SqliteRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row_in_orders(row, default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }

    async fn expect_in_orders(
        connection: &mut SqliteConnection,
        settlements: &[&Settlement],
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let expect = EXPECT;
        #[cfg(feature = "failpoints")]
        let expect = super::mutants::expect(expect);
        let expected = settlements.iter().map(|s| outcome_row(&s.claim, &s.expected()));
        let expect = sqlx::query(expect).bind(rows::table(expected));
        expect.fetch_all(connection).await?.iter().map(held).collect()
    }

    async fn correct_in_orders(
        connection: &mut SqliteConnection,
        failed: &[(&Claim, &Outcome)],
    ) -> sqlx::Result<()> {
        let failed = failed.iter().map(|(claim, outcome)| outcome_row(claim, outcome));
        sqlx::query(CORRECT).bind(rows::table(failed)).execute(connection).await.map(drop)
    }

    async fn keep_refusals(
        connection: &mut SqliteConnection,
        refused: &[&Claim],
        stay: Duration,
    ) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        let with_digest = |claim: &&Claim| {
            let Claim { request, order_id, fence, .. } = claim;
            let digest = HEXLOWER.encode(request.digest().as_bytes());
            json!([request.account.get(), rows::id(*order_id), fence, digest])
        };
        sqlx::query(KEEP_REFUSALS)
            .bind(rows::table(refused.iter().map(with_digest)))
            .bind(now)
            .execute(&mut *connection)
            .await?;
        sqlx::query(LEAVING)
            .bind(now + rows::micros(stay))
            .bind(rows::table(names(refused)))
            .execute(connection)
            .await
            .map(drop)
    }

    async fn let_refusals_leave(
        connection: &mut SqliteConnection,
        limit: usize,
    ) -> sqlx::Result<u64> {
        let now = rows::now(connection).await?;
        let leave = sqlx::query(LEAVE).bind(now).bind(limit as i64);
        let gone = leave.execute(&mut *connection).await?.rows_affected();
        sqlx::query(LEFT).bind(now).bind(limit as i64).execute(connection).await?;
        Ok(gone)
    }
}

/// Writes a batch with a lease until then.
async fn begin(
    connection: &mut SqliteConnection,
    names: impl Iterator<Item = Value>,
    lease_until: Micros,
    owner: Option<Uuid>,
) -> sqlx::Result<i64> {
    let begin = sqlx::query(BEGIN).bind(lease_until).bind(rows::table(names)).bind(owner);
    begin.fetch_one(connection).await?.try_get("batch_id")
}

fn names(claims: &[&Claim]) -> impl Iterator<Item = Value> {
    claims.iter().map(|claim| name(claim.request.account, claim.order_id))
}

fn name(account: AccountId, order_id: Uuid) -> Value {
    json!([account.get(), rows::id(order_id)])
}

/// What names a claim.
fn row(claim: &Claim) -> Value {
    json!([claim.request.account.get(), rows::id(claim.order_id), claim.fence])
}

fn new_row((claim, price): &(&NewClaim, Price)) -> Value {
    let request = &claim.request;
    json!([
        request.account.get(),
        request.key.as_str(),
        rows::id(claim.order_id),
        price.amount.units(),
        request.basket.to_json(),
        price.currency.code(),
        claim.fence,
    ])
}

fn outcome_row(claim: &Claim, outcome: &Outcome) -> Value {
    json!([
        claim.request.account.get(),
        rows::id(claim.order_id),
        claim.fence,
        outcome.order_status(),
        outcome.payment_id().map(rows::id),
        outcome.refusal_json(),
    ])
}

fn held(row: &SqliteRow) -> sqlx::Result<(Uuid, i32)> {
    Ok((row.try_get("order_id")?, row.try_get("fence")?))
}
