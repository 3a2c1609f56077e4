//! T3, T3' and T4: a key's fence checked, its decision written, the stock locked and taken.

use std::collections::BTreeSet;

use database::Postgres;
use proto::id::ProductId;
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{keys::bind_claims, rows};
use crate::{
    order::{
        Order,
        decision::{Settlement, Stock},
        key::{Claim, Outcome},
    },
    storage::tables::{Deciding, Fenced},
};

/// Undecided is `decided_at IS NULL` here and not `status = 'PROCESSING'`: that would lead the planner to the index of
/// running keys, all of which it would read for each batch.
const DECIDE: &str = "
    UPDATE idempotency_keys AS k
    SET status = c.status, response = c.response, decided_at = now()
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[], $6::text[], $7::text[])
        AS c (account_id, idempotency_key, day, fence, order_id, status, response)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence AND k.order_id = c.order_id AND k.decided_at IS NULL
    RETURNING k.order_id, k.fence, k.decided_at";

const CORRECT: &str = "
    UPDATE idempotency_keys AS k
    SET status = c.status, response = c.response
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[], $6::text[], $7::text[])
        AS c (account_id, idempotency_key, day, fence, order_id, status, response)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
      AND k.fence = c.fence";

const RESTORE: &str = "
    UPDATE idempotency_keys
    SET status = 'SUCCESS', response = $5, order_id = $6, amount = $7, digest = $8, request = $9, decided_at = $10,
        currency = $11
    WHERE account_id = $1 AND idempotency_key = $2 AND day = $3 AND fence = $4";

const LOCK_STOCK: &str = "
    SELECT product_id, stock FROM products WHERE product_id = ANY($1) ORDER BY product_id FOR NO KEY UPDATE";

const WRITE_STOCK: &str = "
    UPDATE products AS p SET stock = c.stock
    FROM UNNEST($1::bigint[], $2::bigint[]) AS c (product_id, stock)
    WHERE p.product_id = c.product_id";

impl Deciding for Postgres {
    async fn write_expected(
        connection: &mut PgConnection,
        settlements: &[&Settlement],
    ) -> sqlx::Result<Option<Fenced>> {
        let decide = DECIDE;
        #[cfg(feature = "failpoints")]
        let decide = super::mutants::decide(decide);
        let outcomes: Vec<_> = settlements.iter().map(|s| s.expected()).collect();

        let held = bind_claims(sqlx::query(decide), settlements.iter().map(|s| &s.claim))
            .bind(outcomes.iter().map(Outcome::status).collect::<Vec<_>>())
            .bind(outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let Some(first) = held.first() else { return Ok(None) };
        let at = first.try_get("decided_at")?;
        Ok(Some(Fenced { held: held.iter().map(rows::held).collect::<sqlx::Result<_>>()?, at }))
    }

    async fn lock_stock(
        connection: &mut PgConnection,
        products: &BTreeSet<ProductId>,
    ) -> sqlx::Result<Stock> {
        let products: Vec<_> = products.iter().map(|product| product.get()).collect();
        let locked = sqlx::query(LOCK_STOCK).bind(products).fetch_all(connection).await?;
        let left = |row: &PgRow| {
            let product = ProductId::new(row.try_get("product_id")?).map_err(rows::odd)?;
            Ok((product, row.try_get("stock")?))
        };
        locked.iter().map(left).collect()
    }

    async fn write_stock(connection: &mut PgConnection, stock: &Stock) -> sqlx::Result<()> {
        sqlx::query(WRITE_STOCK)
            .bind(stock.keys().map(|product| product.get()).collect::<Vec<_>>())
            .bind(stock.values().copied().collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn correct(
        connection: &mut PgConnection,
        failed: &[(&Claim, &Outcome)],
    ) -> sqlx::Result<()> {
        bind_claims(sqlx::query(CORRECT), failed.iter().map(|(claim, _)| *claim))
            .bind(failed.iter().map(|(_, outcome)| outcome.status()).collect::<Vec<_>>())
            .bind(failed.iter().map(|(_, outcome)| outcome.to_json()).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn restore(
        connection: &mut PgConnection,
        claim: &Claim,
        order: &Order,
    ) -> sqlx::Result<()> {
        let request = order.request();
        sqlx::query(RESTORE)
            .bind(claim.request.account.get())
            .bind(claim.request.key.as_str())
            .bind(claim.day)
            .bind(claim.fence)
            .bind(Outcome::Placed { payment_id: order.payment_id }.to_json())
            .bind(order.order_id)
            .bind(order.amount.decimal())
            .bind(request.digest().as_bytes())
            .bind(request.basket.to_json())
            .bind(order.placed_at)
            .bind(order.currency.code())
            .execute(connection)
            .await
            .map(drop)
    }
}
