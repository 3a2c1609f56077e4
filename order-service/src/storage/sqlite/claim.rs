//! T0: claiming keys.

use std::collections::{BTreeSet, HashMap};

use data_encoding::HEXLOWER;
use database::Sqlite;
use proto::{Currency, id::ProductId};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
#[cfg(feature = "failpoints")]
use uuid::Uuid;

use super::rows;
use crate::{
    order::request::Price,
    storage::{
        Layout, NewClaim,
        tables::{Claiming, Hold, Inserted},
    },
};

const PRICES: &str = "
    SELECT product_id, price, currency FROM json_each(?1) AS c CROSS JOIN products ON product_id = c.value";

const CLAIM: &str = "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, order_id, status, fence, lease_until, digest, amount, request, created_at, currency, owner
    )
    SELECT c.value ->> 0, c.value ->> 1, unhex(c.value ->> 2), 'PROCESSING', c.value ->> 7, ?2, unhex(c.value ->> 3),
        c.value ->> 4, c.value ->> 5, ?3, c.value ->> 6,
        (SELECT worker_id FROM workers WHERE worker_id = ?4 AND ended_at IS NULL)
    FROM json_each(?1) AS c
    WHERE (SELECT claims FROM layout) = ?5 AND NOT EXISTS (
        SELECT 1 FROM orders WHERE account_id = c.value ->> 0 AND idempotency_key = c.value ->> 1
    )
    ON CONFLICT DO NOTHING
    RETURNING order_id";

impl Claiming for Sqlite {
    /// All keys are under one index, and there is one writer.
    fn must_lock_keys(_: Option<OffsetDateTime>) -> bool {
        false
    }

    async fn lock_keys(_: &mut SqliteConnection, _: &[(&NewClaim, Price)]) -> sqlx::Result<()> {
        Ok(())
    }

    async fn prices(
        connection: &mut SqliteConnection,
        products: &BTreeSet<ProductId>,
        default: Currency,
    ) -> sqlx::Result<HashMap<ProductId, Price>> {
        let query = sqlx::query(PRICES).bind(rows::products(products));
        let found = query.fetch_all(connection).await?;
        let price = |row| {
            let amount = rows::money(row, "price")?;
            let currency = rows::currency(row, default)?;
            Ok((rows::product_id(row)?, Price { amount, currency }))
        };
        found.iter().map(price).collect()
    }

    async fn insert_claims(
        connection: &mut SqliteConnection,
        claims: &[(&NewClaim, Price)],
        Hold { lease, owner }: Hold,
        layout: Layout,
    ) -> sqlx::Result<Inserted> {
        let now = rows::now(connection).await?;
        let at = rows::time(now)?;
        let inserted = sqlx::query(CLAIM)
            .bind(rows::table(claims.iter().map(row)))
            .bind(now + rows::micros(lease))
            .bind(now)
            .bind(owner)
            .bind(layout.as_str())
            .fetch_all(connection)
            .await?;

        let day = |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get("order_id")?, at.date()));
        Ok(Inserted { days: inserted.iter().map(day).collect::<sqlx::Result<_>>()?, now: Some(at) })
    }

    #[cfg(feature = "failpoints")]
    async fn uncommit(_: &mut SqliteConnection, _: Vec<Uuid>) -> sqlx::Result<()> {
        // This safeguard is switched off on PostgreSQL only.
        Ok(())
    }
}

fn row((claim, price): &(&NewClaim, Price)) -> Value {
    let request = &claim.request;
    json!([
        request.account.get(),
        request.key.as_str(),
        rows::id(claim.order_id),
        HEXLOWER.encode(request.digest().as_bytes()),
        price.amount.units(),
        request.basket.to_json(),
        price.currency.code(),
        claim.fence,
    ])
}
