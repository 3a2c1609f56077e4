//! T0: claiming keys.
//!
//! The INSERT on the primary key is the check and the lock (A10). It is a statement of its own: a duplicate that
//! arrives meanwhile waits for one short commit, not for the whole order.
//!
//! **Orders speak for their keys.** A key that placed an order is never free again, though its row be dropped with its
//! day: a claim looks among the orders too. So whoever asks later runs nothing, and no request that is not the key's
//! stands in for its owner, not even for a moment.
//!
//! **Midnight.** The partition's day is part of the primary key, so two duplicates on either side of midnight meet
//! different unique indexes. A claim therefore looks for the key in the other days too. That leaves one race: both
//! claims under way at once, neither seeing the other. Near midnight, and only then, claims of one key take a
//! transaction-level advisory lock first; further away the two claims cannot overlap, because no statement lives that
//! long (`statement_timeout`). Should the clocks play tricks all the same, the unique key on `orders` is the last fence.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use database::{Postgres, Transaction};
use failpoint::{Safeguard, is_off};
use proto::{Currency, id::ProductId};
use sqlx::{PgConnection, Row};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::rows;
use crate::{
    order::request::Price,
    storage::{self, Claimed, NewClaim},
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
macro_rules! claim_unless {
    ($there_is_more:literal) => {
        concat!(
            "
    INSERT INTO idempotency_keys (
        account_id, idempotency_key, day, order_id, status, fence, lease_until, digest, amount, currency,
        request, created_at
    )
    SELECT
        c.account_id, c.idempotency_key, (now() AT TIME ZONE 'UTC')::date, c.order_id, 'PROCESSING', c.fence,
        now() + make_interval(secs => $7), c.digest, c.amount, c.currency, c.request, now()
    FROM UNNEST($1::bigint[], $2::text[], $3::uuid[], $4::bytea[], $5::numeric[], $6::text[], $8::int[], $9::text[])
        AS c (account_id, idempotency_key, order_id, digest, amount, request, fence, currency)
    WHERE (
        SELECT other.day FROM idempotency_keys AS other
        WHERE other.account_id = c.account_id AND other.idempotency_key = c.idempotency_key
          AND (other.day < (now() AT TIME ZONE 'UTC')::date OR other.day = (now() AT TIME ZONE 'UTC')::date + 1)
        LIMIT 1
    ) IS NULL",
            $there_is_more,
            "
    ON CONFLICT DO NOTHING
    RETURNING order_id, day, created_at"
        )
    };
}

const CLAIM: &str = claim_unless!(
    "
      AND (
        SELECT placed.order_id FROM orders AS placed
        WHERE placed.account_id = c.account_id AND placed.idempotency_key = c.idempotency_key
    ) IS NULL"
);

/// What [`Safeguard::OrderUnique`] keeps from happening.
const CLAIM_WHATEVER_WAS_PLACED: &str = claim_unless!("");

pub(super) struct ClaimKeys<'a> {
    pub(super) claims: &'a [NewClaim],
    pub(super) lease: Duration,
    /// Take the midnight lock; the work must then run in a transaction.
    pub(super) serialise: bool,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
}

pub(super) struct ClaimedKeys {
    pub(super) answers: Vec<Claimed>,
    /// The database's clock, when a row said it.
    pub(super) now: Option<OffsetDateTime>,
}

/// Whether a claim made now could overlap with one of another day.
pub(super) fn near_midnight(now: OffsetDateTime) -> bool {
    let into_day = now.time() - time::Time::MIDNIGHT;
    into_day < MIDNIGHT_WINDOW || into_day > time::Duration::DAY - MIDNIGHT_WINDOW
}

impl Transaction<Postgres> for ClaimKeys<'_> {
    const NAME: &'static str = "claim";
    type Output = ClaimedKeys;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<ClaimedKeys> {
        let prices = prices(connection, self.claims, self.default).await?;
        let price = |claim: &NewClaim| claim.request.price(&prices, self.default);
        let priced: Vec<_> = self.claims.iter().map(price).collect();
        let askers = storage::askers(self.claims, &priced);
        let (days, now) = self.insert(connection, &askers).await?;
        #[cfg(feature = "failpoints")]
        super::mutants::uncommit(connection, days.keys().copied()).await?;
        let answer = |((claim, price), asked): ((&NewClaim, &Result<_, _>), &Option<Price>)| {
            let day = asked.and_then(|_| days.get(&claim.order_id).copied());
            claim.answer(*price, day)
        };
        let answers = self.claims.iter().zip(&priced).zip(&askers).map(answer).collect();
        Ok(ClaimedKeys { answers, now })
    }
}

impl ClaimKeys<'_> {
    /// Inserts those that are asked about, at these prices. Answers the day of each order that got its key.
    pub(super) async fn insert(
        &self,
        connection: &mut PgConnection,
        askers: &[Option<Price>],
    ) -> sqlx::Result<(HashMap<Uuid, Date>, Option<OffsetDateTime>)> {
        // One order for all writers, so that two batches with keys in common do not deadlock.
        let mut rows: Vec<_> = self
            .claims
            .iter()
            .zip(askers)
            .filter_map(|(claim, price)| price.map(|price| (claim, price)))
            .collect();
        rows.sort_by_key(|(claim, _)| (claim.request.account, &claim.request.key));
        let accounts: Vec<_> = rows.iter().map(|(c, _)| c.request.account.get()).collect();
        let keys: Vec<_> = rows.iter().map(|(c, _)| c.request.key.as_str()).collect();
        if self.serialise {
            sqlx::query(LOCK).bind(&accounts).bind(&keys).execute(&mut *connection).await?;
        }
        let digests: Vec<_> = rows.iter().map(|(c, _)| c.request.digest()).collect();
        let orders_speak = !is_off(Safeguard::OrderUnique);
        let claim = if orders_speak { CLAIM } else { CLAIM_WHATEVER_WAS_PLACED };
        let inserted = sqlx::query(claim)
            .bind(&accounts)
            .bind(&keys)
            .bind(rows.iter().map(|(c, _)| c.order_id).collect::<Vec<_>>())
            .bind(digests.iter().map(|digest| digest.as_bytes()).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, price)| price.amount.decimal()).collect::<Vec<_>>())
            .bind(rows.iter().map(|(c, _)| c.request.basket.to_json()).collect::<Vec<_>>())
            .bind(self.lease.as_secs_f64())
            .bind(rows.iter().map(|(c, _)| c.fence).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, price)| price.currency.code()).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let now = inserted.first().map(|row| row.try_get("created_at")).transpose()?;
        let day = |row: &sqlx::postgres::PgRow| Ok((row.try_get("order_id")?, row.try_get("day")?));
        Ok((inserted.iter().map(day).collect::<sqlx::Result<_>>()?, now))
    }
}

/// Reads what the products of all baskets cost now; nothing is asked when no basket has lines.
async fn prices(
    connection: &mut PgConnection,
    claims: &[NewClaim],
    default: Currency,
) -> sqlx::Result<HashMap<ProductId, Price>> {
    let lines = claims.iter().flat_map(|claim| claim.request.basket.lines());
    let products: HashSet<i64> = lines.map(|line| line.product_id.get()).collect();
    if products.is_empty() {
        return Ok(HashMap::new());
    }
    let products: Vec<i64> = products.into_iter().collect();
    let found = sqlx::query(PRICES).bind(products).fetch_all(connection).await?;
    let price = |row: &sqlx::postgres::PgRow| {
        let product = ProductId::new(row.try_get("product_id")?).map_err(rows::odd)?;
        let amount = rows::money(row, "price")?;
        Ok((product, Price { amount, currency: rows::currency(row, default)? }))
    };
    found.iter().map(price).collect()
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
