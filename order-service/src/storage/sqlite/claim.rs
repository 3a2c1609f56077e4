//! T0: claiming keys. The INSERT on the primary key is the check and the lock (A10). A key that placed an order is never
//! free again, though its row be pruned: orders speak for their keys.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use data_encoding::HEXLOWER;
use database::{Sqlite, Transaction};
use proto::{Currency, id::ProductId};
use serde_json::json;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::rows::{self, Micros};
use crate::{
    order::request::Price,
    storage::{self, Claimed, NewClaim},
};

const PRICES: &str = "
    SELECT product_id, price, currency FROM json_each(?1) AS c CROSS JOIN products ON product_id = c.value";

const CLAIM: &str = "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, order_id, status, fence, lease_until, digest, amount, request, created_at, currency
    )
    SELECT c.value ->> 0, c.value ->> 1, unhex(c.value ->> 2), 'PROCESSING', c.value ->> 7, ?2, unhex(c.value ->> 3),
        c.value ->> 4, c.value ->> 5, ?3, c.value ->> 6
    FROM json_each(?1) AS c
    WHERE NOT EXISTS (
        SELECT 1 FROM orders WHERE account_id = c.value ->> 0 AND idempotency_key = c.value ->> 1
    )
    ON CONFLICT DO NOTHING
    RETURNING order_id";

pub(super) struct ClaimKeys<'a> {
    pub(super) claims: &'a [NewClaim],
    pub(super) lease: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

impl Transaction<Sqlite> for ClaimKeys<'_> {
    const NAME: &'static str = "claim";
    type Output = Vec<Claimed>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Claimed>> {
        let now = rows::now(connection).await?;
        let day = rows::time(now)?.date();
        let prices = prices(connection, self.claims, self.default).await?;
        let price = |claim: &NewClaim| claim.request.price(&prices, self.default);
        let priced: Vec<_> = self.claims.iter().map(price).collect();
        let askers = storage::askers(self.claims, &priced);
        let mine = self.insert(connection, &askers, now).await?;
        let answer = |((claim, price), asked): ((&NewClaim, &Result<_, _>), &Option<Price>)| {
            let got = asked.filter(|_| mine.contains(&claim.order_id)).map(|_| day);
            claim.answer(*price, got)
        };
        Ok(self.claims.iter().zip(&priced).zip(&askers).map(answer).collect())
    }
}

impl ClaimKeys<'_> {
    /// Inserts those that are asked about, at these prices. Answers the orders that got their keys.
    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        askers: &[Option<Price>],
        now: Micros,
    ) -> sqlx::Result<HashSet<Uuid>> {
        let row = |(claim, price): (&NewClaim, &Option<Price>)| {
            let request = &claim.request;
            let price = (*price)?;
            Some(json!([
                request.account.get(),
                request.key.as_str(),
                rows::id(claim.order_id),
                HEXLOWER.encode(request.digest().as_bytes()),
                price.amount.units(),
                request.basket.to_json(),
                price.currency.code(),
                claim.fence,
            ]))
        };
        let inserted = sqlx::query(CLAIM)
            .bind(rows::table(self.claims.iter().zip(askers).filter_map(row)))
            .bind(now + rows::micros(self.lease))
            .bind(now)
            .fetch_all(connection)
            .await?;
        inserted.iter().map(|row| row.try_get("order_id")).collect()
    }
}

/// Reads what the products of all baskets cost now; nothing is asked when no basket has lines.
async fn prices(
    connection: &mut SqliteConnection,
    claims: &[NewClaim],
    default: Currency,
) -> sqlx::Result<HashMap<ProductId, Price>> {
    let Some(products) = rows::products(claims.iter().map(|claim| &claim.request.basket)) else {
        return Ok(HashMap::new());
    };
    let found = sqlx::query(PRICES).bind(products).fetch_all(connection).await?;
    let price = |row| {
        let amount = rows::money(row, "price")?;
        let currency = rows::currency(row, default)?;
        Ok((rows::product_id(row)?, Price { amount, currency }))
    };
    found.iter().map(price).collect()
}
