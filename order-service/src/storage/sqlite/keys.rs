//! D, T1 and T5: reading keys, taking them over, handing them back; and letting go of old ones.
//!
//! A row that was let go of and claimed anew has the id of the order again, but a fence of its own; versions before drew
//! ids and began at fence 1. So a fence check names both.
//! For a key whose row is gone its order speaks. It is looked for after the row, so that one that is placed in between
//! is seen.

use std::time::Duration;

use database::{Sqlite, Transaction};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};
use sqlx::{Row, SqliteConnection};

use super::{
    orders,
    rows::{self, Micros},
};
use crate::{
    order::key::{Claim, KeyRow},
    storage::Overdue,
};

/// Old keys that one round lets go of: a short write, so that orders do not wait for it.
pub(super) const PRUNE_AT_ONCE: i64 = 500;

const READ: &str = "SELECT * FROM idempotency_keys WHERE account_id = ?1 AND idempotency_key = ?2";

const TAKE_OVER: &str = "
    UPDATE idempotency_keys SET fence = fence + 1, lease_until = ?4
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?6 AND status = 'PROCESSING'
      AND lease_until <= ?5
    RETURNING fence";

const HAND_BACK: &str = "
    UPDATE idempotency_keys SET lease_until = ?4
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?5 AND status = 'PROCESSING'";

const AMEND: &str = "
    UPDATE idempotency_keys SET order_id = ?4, amount = ?5
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND decided_at IS NULL";

const OVERDUE: &str = "
    SELECT *, created_at <= ?1 - ?2 AS give_up FROM idempotency_keys
    WHERE status = 'PROCESSING' AND lease_until <= ?1 ORDER BY lease_until LIMIT ?3";

const PRUNE: &str = "
    DELETE FROM idempotency_keys WHERE (account_id, idempotency_key) IN (
        SELECT account_id, idempotency_key FROM idempotency_keys WHERE decided_at < ?1 LIMIT ?2
    )";

pub(super) struct ReadKeys<'a> {
    pub(super) keys: &'a [(AccountId, IdempotencyKey)],
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ReadKeys<'_> {
    const NAME: &'static str = "read_keys";
    type Output = Vec<Option<KeyRow>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let now = rows::now(connection).await?;
        let mut keys = Vec::with_capacity(self.keys.len());
        for (account, key) in self.keys {
            let query = sqlx::query(READ).bind(account.get()).bind(key.as_str());
            keys.push(match query.fetch_optional(&mut *connection).await? {
                Some(row) => Some(rows::key_row(&row, now, self.default)?),
                None => {
                    let name = (*account, key);
                    let placed = orders::by_keys(connection, &[name], self.default).await?;
                    placed.values().next().map(KeyRow::of_order)
                }
            });
        }
        Ok(keys)
    }
}

pub(super) struct TakeOver<'a> {
    pub(super) seen: &'a [Claim],
    pub(super) lease: Duration,
}

impl Transaction<Sqlite> for TakeOver<'_> {
    const NAME: &'static str = "take_over";
    type Output = Vec<Option<Claim>>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let now = rows::now(connection).await?;
        let mut taken = Vec::with_capacity(self.seen.len());
        for claim in self.seen {
            let row = sqlx::query(TAKE_OVER)
                .bind(claim.request.account.get())
                .bind(claim.request.key.as_str())
                .bind(claim.fence)
                .bind(now + rows::micros(self.lease))
                .bind(now)
                .bind(claim.order_id)
                .fetch_optional(&mut *connection)
                .await?;
            let fence = row.map(|row| row.try_get("fence")).transpose()?;
            taken.push(fence.map(|fence| Claim { fence, ..claim.clone() }));
        }
        Ok(taken)
    }
}

pub(super) struct Amend<'a> {
    pub(super) claims: &'a [Claim],
}

impl Transaction<Sqlite> for Amend<'_> {
    const NAME: &'static str = "amend";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<bool>> {
        let mut held = Vec::with_capacity(self.claims.len());
        for claim in self.claims {
            let amended = sqlx::query(AMEND)
                .bind(claim.request.account.get())
                .bind(claim.request.key.as_str())
                .bind(claim.fence)
                .bind(claim.order_id)
                .bind(claim.amount.units())
                .execute(&mut *connection)
                .await?;
            held.push(amended.rows_affected() > 0);
        }
        Ok(held)
    }
}

pub(super) struct HandBack<'a> {
    pub(super) claims: &'a [Claim],
}

impl Transaction<Sqlite> for HandBack<'_> {
    const NAME: &'static str = "hand_back";
    type Output = ();

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let now = rows::now(connection).await?;
        for claim in self.claims {
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
}

pub(super) struct ReadOverdue {
    pub(super) limit: usize,
    pub(super) give_up: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ReadOverdue {
    const NAME: &'static str = "read_overdue";
    type Output = Vec<Overdue>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Self::Output> {
        let now = rows::now(connection).await?;
        let found = sqlx::query(OVERDUE)
            .bind(now)
            .bind(rows::micros(self.give_up))
            .bind(self.limit as i64)
            .fetch_all(connection)
            .await?;
        let overdue = |row: &sqlx::sqlite::SqliteRow| {
            let give_up = row.try_get("give_up")?;
            Ok(Overdue { row: rows::key_row(row, now, self.default)?, give_up })
        };
        found.iter().map(overdue).collect()
    }
}

/// Lets go of keys that were decided before a time.
pub(super) struct Prune {
    pub(super) before: Micros,
}

impl Transaction<Sqlite> for Prune {
    const NAME: &'static str = "prune_keys";
    type Output = u64;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<u64> {
        let query = sqlx::query(PRUNE).bind(self.before).bind(PRUNE_AT_ONCE);
        query.execute(connection).await.map(|gone| gone.rows_affected())
    }
}
