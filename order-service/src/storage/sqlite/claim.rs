//! T0: claiming keys. The INSERT on the primary key is the check and the lock (A10). A key that placed an order is never
//! free again, though its row be pruned: orders speak for their keys.

use std::{collections::HashMap, time::Duration};

use database::{Sqlite, Transaction};
use proto::{Money, id::ProductId};
use sqlx::SqliteConnection;

use super::rows::{self, Micros};
use crate::{
    order::key::Claim,
    storage::{Claimed, NewClaim},
};

const PRICE: &str = "SELECT price FROM products WHERE product_id = ?1";

const CLAIM: &str = "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, order_id, status, fence, lease_until, digest, amount, request, created_at
    )
    SELECT ?1, ?2, ?3, 'PROCESSING', 1, ?4, ?5, ?6, ?7, ?8
    WHERE NOT EXISTS (SELECT 1 FROM orders WHERE account_id = ?1 AND idempotency_key = ?2)
    ON CONFLICT DO NOTHING";

pub(super) struct ClaimKeys<'a> {
    pub(super) claims: &'a [NewClaim],
    pub(super) lease: Duration,
}

impl Transaction<Sqlite> for ClaimKeys<'_> {
    const NAME: &'static str = "claim";
    type Output = Vec<Claimed>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Claimed>> {
        let now = rows::now(connection).await?;
        let mut answers = Vec::with_capacity(self.claims.len());
        for claim in self.claims {
            let prices = prices(connection, claim).await?;
            answers.push(match claim.request.basket.price(&prices) {
                Err(unpriced) => Claimed::Unpriced(unpriced),
                Ok(amount) => self.insert(connection, claim, amount, now).await?,
            });
        }
        Ok(answers)
    }
}

impl ClaimKeys<'_> {
    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        claim: &NewClaim,
        amount: Money,
        now: Micros,
    ) -> sqlx::Result<Claimed> {
        let inserted = sqlx::query(CLAIM)
            .bind(claim.request.account.get())
            .bind(claim.request.key.as_str())
            .bind(claim.order_id)
            .bind(now + rows::micros(self.lease))
            .bind(claim.request.digest().as_bytes())
            .bind(amount.units())
            .bind(claim.request.basket.to_json())
            .bind(now)
            .execute(connection)
            .await?;
        if inserted.rows_affected() == 0 {
            return Ok(Claimed::Taken);
        }
        Ok(Claimed::Mine(Claim {
            request: claim.request.clone(),
            order_id: claim.order_id,
            amount,
            fence: 1,
            day: rows::time(now)?.date(),
        }))
    }
}

async fn prices(
    connection: &mut SqliteConnection,
    claim: &NewClaim,
) -> sqlx::Result<HashMap<ProductId, Money>> {
    let mut prices = HashMap::new();
    for line in claim.request.basket.lines() {
        let product = line.product_id;
        let found = sqlx::query(PRICE).bind(product.get()).fetch_optional(&mut *connection).await?;
        if let Some(row) = found {
            prices.insert(product, rows::money(&row, "price")?);
        }
    }
    Ok(prices)
}
