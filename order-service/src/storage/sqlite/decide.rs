//! T3, T3' and T4: a key's fence checked, its decision written, the stock taken.

use std::collections::BTreeSet;

use database::Sqlite;
use proto::id::ProductId;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::rows;
use crate::{
    order::{
        Order,
        decision::{Settlement, Stock},
        key::{Claim, Outcome},
    },
    storage::tables::{Deciding, Fenced},
};

/// Undecided is `decided_at IS NULL` here, as in PostgreSQL, so that nobody thinks of the index of running keys.
const DECIDE: &str = "
    UPDATE idempotency_keys AS k SET status = c.value ->> 4, response = c.value ->> 5, decided_at = ?2
    FROM json_each(?1) AS c
    WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
      AND k.order_id = unhex(c.value ->> 2) AND k.fence = c.value ->> 3 AND k.decided_at IS NULL
    RETURNING order_id, fence";

const CORRECT: &str = "
    UPDATE idempotency_keys AS k SET status = c.value ->> 4, response = c.value ->> 5
    FROM json_each(?1) AS c
    WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
      AND k.order_id = unhex(c.value ->> 2) AND k.fence = c.value ->> 3";

const RESTORE: &str = "
    UPDATE idempotency_keys
    SET status = 'SUCCESS', order_id = ?4, amount = ?5, digest = ?6, request = ?7, response = ?8, decided_at = ?9,
        currency = ?10
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3";

const STOCK: &str = "
    SELECT product_id, stock FROM json_each(?1) AS c CROSS JOIN products ON product_id = c.value";

const WRITE_STOCK: &str = "
    UPDATE products SET stock = c.value ->> 1 FROM json_each(?1) AS c WHERE product_id = c.value ->> 0";

impl Deciding for Sqlite {
    async fn write_expected(
        connection: &mut SqliteConnection,
        settlements: &[&Settlement],
    ) -> sqlx::Result<Option<Fenced>> {
        let decide = DECIDE;
        #[cfg(feature = "failpoints")]
        let decide = super::mutants::decide(decide);
        let now = rows::now(connection).await?;

        let expected = settlements.iter().map(|s| key_row(&s.claim, &s.expected()));
        let held = sqlx::query(decide).bind(rows::table(expected)).bind(now);
        let held = held.fetch_all(connection).await?;
        if held.is_empty() {
            return Ok(None);
        }
        let fence = |row: &SqliteRow| Ok((row.try_get("order_id")?, row.try_get("fence")?));
        let held = held.iter().map(fence).collect::<sqlx::Result<_>>()?;
        Ok(Some(Fenced { held, at: rows::time(now)? }))
    }

    async fn lock_stock(
        connection: &mut SqliteConnection,
        products: &BTreeSet<ProductId>,
    ) -> sqlx::Result<Stock> {
        let query = sqlx::query(STOCK).bind(rows::products(products));
        let found = query.fetch_all(connection).await?;
        found.iter().map(|row| Ok((rows::product_id(row)?, row.try_get("stock")?))).collect()
    }

    async fn write_stock(connection: &mut SqliteConnection, stock: &Stock) -> sqlx::Result<()> {
        let left = stock.iter().map(|(product, left)| json!([product.get(), left]));
        sqlx::query(WRITE_STOCK).bind(rows::table(left)).execute(connection).await.map(drop)
    }

    async fn correct(
        connection: &mut SqliteConnection,
        failed: &[(&Claim, &Outcome)],
    ) -> sqlx::Result<()> {
        let failed = failed.iter().map(|(claim, outcome)| key_row(claim, outcome));
        sqlx::query(CORRECT).bind(rows::table(failed)).execute(connection).await.map(drop)
    }

    async fn restore(
        connection: &mut SqliteConnection,
        claim: &Claim,
        order: &Order,
    ) -> sqlx::Result<()> {
        let request = order.request();
        sqlx::query(RESTORE)
            .bind(claim.request.account.get())
            .bind(claim.request.key.as_str())
            .bind(claim.fence)
            .bind(order.order_id)
            .bind(order.amount.units())
            .bind(request.digest().as_bytes())
            .bind(request.basket.to_json())
            .bind(Outcome::Placed { payment_id: order.payment_id }.to_json())
            .bind(rows::micros_of(order.placed_at))
            .bind(order.currency.code())
            .execute(connection)
            .await
            .map(drop)
    }
}

/// A row for the statements on keys.
fn key_row(claim: &Claim, outcome: &Outcome) -> Value {
    json!([
        claim.request.account.get(),
        claim.request.key.as_str(),
        rows::id(claim.order_id),
        claim.fence,
        outcome.status(),
        outcome.to_json(),
    ])
}
