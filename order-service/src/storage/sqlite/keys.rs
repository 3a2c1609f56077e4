//! D, T1 and T5: reading keys, taking them over, handing them back.
//!
//! A row that was let go of and claimed anew has the id of the order again, but a fence of its own; versions before drew
//! ids and began at fence 1. So a fence check names both.

use std::{collections::HashSet, time::Duration};

use database::Sqlite;
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::rows;
use crate::{
    order::key::{Claim, KeyRow},
    storage::{
        Overdue,
        tables::{Hold, Keys, Taken},
    },
};

const READ: &str = "SELECT * FROM idempotency_keys WHERE account_id = ?1 AND idempotency_key = ?2";

const TAKE_OVER: &str = "
    UPDATE idempotency_keys SET fence = fence + 1, lease_until = ?4,
        owner = (SELECT worker_id FROM workers WHERE worker_id = ?7 AND ended_at IS NULL)
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?6 AND status = 'PROCESSING'
      AND lease_until <= ?5
    RETURNING fence";

const HAND_BACK: &str = "
    UPDATE idempotency_keys SET lease_until = ?4, owner = NULL
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?5 AND status = 'PROCESSING'";

const AMEND: &str = "
    UPDATE idempotency_keys SET order_id = ?4, amount = ?5
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND decided_at IS NULL";

const OVERDUE: &str = "
    SELECT *, created_at <= ?1 - ?2 AS give_up FROM idempotency_keys
    WHERE status = 'PROCESSING' AND lease_until <= ?1 ORDER BY lease_until LIMIT ?3";

impl Keys for Sqlite {
    async fn key_rows(
        connection: &mut SqliteConnection,
        keys: &[(AccountId, IdempotencyKey)],
        default: Currency,
    ) -> sqlx::Result<Vec<KeyRow>> {
        let now = rows::now(connection).await?;
        let mut found = Vec::with_capacity(keys.len());
        for (account, key) in keys {
            let query = sqlx::query(READ).bind(account.get()).bind(key.as_str());
            if let Some(row) = query.fetch_optional(&mut *connection).await? {
                found.push(rows::key_row(&row, now, default)?);
            }
        }
        Ok(found)
    }

    async fn take_over(
        connection: &mut SqliteConnection,
        seen: &[&Claim],
        Hold { lease, owner }: Hold,
    ) -> sqlx::Result<HashSet<Taken>> {
        let now = rows::now(connection).await?;
        let mut taken = HashSet::new();
        for claim in seen {
            let row = sqlx::query(TAKE_OVER)
                .bind(claim.request.account.get())
                .bind(claim.request.key.as_str())
                .bind(claim.fence)
                .bind(now + rows::micros(lease))
                .bind(now)
                .bind(claim.order_id)
                .bind(owner)
                .fetch_optional(&mut *connection)
                .await?;
            taken.extend(row.map(|_| (claim.order_id, claim.day(), claim.fence)));
        }
        Ok(taken)
    }

    async fn amend(
        connection: &mut SqliteConnection,
        claims: &[&Claim],
    ) -> sqlx::Result<HashSet<(Uuid, i32)>> {
        let mut held = HashSet::new();
        for claim in claims {
            let amended = sqlx::query(AMEND)
                .bind(claim.request.account.get())
                .bind(claim.request.key.as_str())
                .bind(claim.fence)
                .bind(claim.order_id)
                .bind(claim.amount.units())
                .execute(&mut *connection)
                .await?;
            if amended.rows_affected() > 0 {
                held.insert((claim.order_id, claim.fence));
            }
        }
        Ok(held)
    }

    async fn hand_back(connection: &mut SqliteConnection, claims: &[&Claim]) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        for claim in claims {
            sqlx::query(HAND_BACK)
                .bind(claim.request.account.get())
                .bind(claim.request.key.as_str())
                .bind(claim.fence)
                .bind(now)
                .bind(claim.order_id)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    async fn overdue(
        connection: &mut SqliteConnection,
        limit: usize,
        give_up: Duration,
        default: Currency,
    ) -> sqlx::Result<Vec<Overdue>> {
        let now = rows::now(connection).await?;
        let found = sqlx::query(OVERDUE)
            .bind(now)
            .bind(rows::micros(give_up))
            .bind(limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &SqliteRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row(row, now, default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }
}
