//! T0: claiming keys.
//!
//! **Midnight.** The partition's day is part of the primary key, so two duplicates on either side of midnight meet
//! different unique indexes. A claim therefore looks for the key in the other days too. That leaves one race: both
//! claims under way at once, neither seeing the other. Near midnight, and only then, claims of one key take a
//! transaction-level advisory lock first; further away the two claims cannot overlap, because no statement lives that
//! long (`statement_timeout`). Should the clocks play tricks all the same, the unique key on `orders` is the last fence.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use database::Postgres;
use proto::{Currency, id::ProductId};
use sqlx::{PgConnection, Row, postgres::PgRow};
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

/// How near is near: many times longer than a statement may take, and than clocks drift between two claims.
const MIDNIGHT_WINDOW: Duration = Duration::from_secs(120);

const LOCK: &str = "
    SELECT pg_advisory_xact_lock(lock) FROM (
        SELECT DISTINCT hashtextextended(c.idempotency_key, c.account_id) AS lock
        FROM UNNEST($1::bigint[], $2::text[]) AS c (account_id, idempotency_key)
        ORDER BY lock
    ) AS locks";

const PRICES: &str = "SELECT product_id, price, currency FROM products WHERE product_id = ANY($1)";

/// A scalar subquery is looked up key by key. Asked with NOT EXISTS, the planner makes an anti join of it that reads the
/// whole day.
pub(super) const CLAIM: &str = "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, day, order_id, status, fence, lease_until, digest, amount, currency,
        request, created_at, owner
    )
    SELECT
        c.account_id, c.idempotency_key, (now() AT TIME ZONE 'UTC')::date, c.order_id, 'PROCESSING', c.fence,
        now() + make_interval(secs => $7), c.digest, c.amount, c.currency, c.request, now(),
        (SELECT worker_id FROM workers WHERE worker_id = $10 AND ended_at IS NULL)
    FROM UNNEST($1::bigint[], $2::text[], $3::uuid[], $4::bytea[], $5::numeric[], $6::text[], $8::int[], $9::text[])
        AS c (account_id, idempotency_key, order_id, digest, amount, request, fence, currency)
    WHERE (SELECT claims FROM layout) = $11 AND (
        SELECT other.day FROM idempotency_keys AS other
        WHERE other.account_id = c.account_id AND other.idempotency_key = c.idempotency_key
          AND (other.day < (now() AT TIME ZONE 'UTC')::date OR other.day = (now() AT TIME ZONE 'UTC')::date + 1)
        LIMIT 1
    ) IS NULL
      AND (
        SELECT placed.order_id FROM orders AS placed
        WHERE placed.account_id = c.account_id AND placed.idempotency_key = c.idempotency_key
    ) IS NULL
    ON CONFLICT DO NOTHING
    RETURNING order_id, day, created_at";

impl Claiming for Postgres {
    fn must_lock_keys(now: Option<OffsetDateTime>) -> bool {
        now.is_none_or(near_midnight)
    }

    async fn lock_keys(
        connection: &mut PgConnection,
        claims: &[(&NewClaim, Price)],
    ) -> sqlx::Result<()> {
        sqlx::query(LOCK)
            .bind(claims.iter().map(|(c, _)| c.request.account.get()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.request.key.as_str()).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }

    async fn prices(
        connection: &mut PgConnection,
        products: &BTreeSet<ProductId>,
        default: Currency,
    ) -> sqlx::Result<HashMap<ProductId, Price>> {
        let products: Vec<_> = products.iter().map(|product| product.get()).collect();
        let found = sqlx::query(PRICES).bind(products).fetch_all(connection).await?;
        let price = |row: &PgRow| {
            let product = ProductId::new(row.try_get("product_id")?).map_err(rows::odd)?;
            let amount = rows::money(row, "price")?;
            Ok((product, Price { amount, currency: rows::currency(row, default)? }))
        };
        found.iter().map(price).collect()
    }

    async fn insert_claims(
        connection: &mut PgConnection,
        claims: &[(&NewClaim, Price)],
        Hold { lease, owner }: Hold,
        layout: Layout,
    ) -> sqlx::Result<Inserted> {
        let claim = CLAIM;
        #[cfg(feature = "failpoints")]
        let claim = super::mutants::claim(claim);
        let digests: Vec<_> = claims.iter().map(|(c, _)| c.request.digest()).collect();

        let inserted = sqlx::query(claim)
            .bind(claims.iter().map(|(c, _)| c.request.account.get()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.request.key.as_str()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.order_id).collect::<Vec<_>>())
            .bind(digests.iter().map(|digest| digest.as_bytes()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, price)| price.amount.decimal()).collect::<Vec<_>>())
            .bind(claims.iter().map(|(c, _)| c.request.basket.to_json()).collect::<Vec<_>>())
            .bind(lease.as_secs_f64())
            .bind(claims.iter().map(|(c, _)| c.fence).collect::<Vec<_>>())
            .bind(claims.iter().map(|(_, price)| price.currency.code()).collect::<Vec<_>>())
            .bind(owner)
            .bind(layout.as_str())
            .fetch_all(connection)
            .await?;

        let now = inserted.first().map(|row| row.try_get("created_at")).transpose()?;
        let day = |row: &PgRow| Ok((row.try_get("order_id")?, row.try_get("day")?));
        Ok(Inserted { days: inserted.iter().map(day).collect::<sqlx::Result<_>>()?, now })
    }

    #[cfg(feature = "failpoints")]
    async fn uncommit(connection: &mut PgConnection, orders: Vec<Uuid>) -> sqlx::Result<()> {
        super::mutants::uncommit(connection, orders).await
    }
}

/// Whether a claim made now could overlap with one of another day.
fn near_midnight(now: OffsetDateTime) -> bool {
    let into_day = now.time() - time::Time::MIDNIGHT;
    into_day < MIDNIGHT_WINDOW || into_day > time::Duration::DAY - MIDNIGHT_WINDOW
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn bug_16_claims_are_serialised_on_both_sides_of_midnight_and_only_there() {
        assert!(near_midnight(datetime!(2026-11-21 23:59:59 UTC)));
        assert!(near_midnight(datetime!(2026-11-22 00:00:00 UTC)));
        assert!(near_midnight(datetime!(2026-11-22 00:01:59 UTC)));
        assert!(!near_midnight(datetime!(2026-11-22 00:02:01 UTC)));
        assert!(!near_midnight(datetime!(2026-11-22 12:00:00 UTC)));
        assert!(!near_midnight(datetime!(2026-11-22 23:57:00 UTC)));
    }
}
