//! T3, T3' and T4: a batch of decisions, one transaction.
//!
//! Statement by statement, and why in this order:
//!
//! 1. The keys, *where the fence is the claim's*. A worker that was overtaken matches no row and touches nothing else.
//! 2. The stock of the products concerned, locked in product order; then the core decides.
//! 3. Stock, orders, payments, outbox: one statement a table. A batch without lines skips the stock.
//! 4. Keys whose outcome is not the one expected in 1 (sold out), and keys that are restored from an earlier order.
//!
//! An order may exist already, when its key was dropped with its partition. Placing it again fails the unique key on
//! `orders`; the session rolls back and runs the batch again, looking for earlier orders first. Refusing it again fails
//! nothing, so earlier orders are looked for before any refusal is written. The common case pays for neither.

use std::{collections::HashSet, time::Duration};

use database::{Postgres, Transaction};
use failpoint::{Point, Safeguard, is_off, reach};
use proto::Currency;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{keys::bind_claims, orders, outbox, rows};
use crate::order::{
    Order,
    decision::{self, Decision, Earlier, Pairs, Settled, Settlement, Stock},
    key::Outcome,
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

/// What [`Safeguard::FenceCheck`] keeps from happening.
const DECIDE_UNFENCED: &str = "
    UPDATE idempotency_keys AS k
    SET status = c.status, response = c.response, decided_at = now()
    FROM UNNEST($1::bigint[], $2::text[], $3::date[], $4::int[], $5::uuid[], $6::text[], $7::text[])
        AS c (account_id, idempotency_key, day, fence, order_id, status, response)
    WHERE k.account_id = c.account_id AND k.idempotency_key = c.idempotency_key AND k.day = c.day
    RETURNING k.order_id, c.fence, k.decided_at";

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

pub(super) struct Settle<'a> {
    pub(super) settlements: &'a [Settlement],
    pub(super) lease: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
    /// The first run met a conflict: look for earlier orders.
    pub(super) again: bool,
    pub(super) earlier: Earlier,
}

impl Transaction<Postgres> for Settle<'_> {
    const NAME: &'static str = "settle";
    type Output = Vec<Settled>;

    async fn run(&mut self, connection: &mut PgConnection) -> sqlx::Result<Vec<Settled>> {
        if std::mem::replace(&mut self.again, true) {
            let requests = self.settlements.iter().map(|s| &*s.claim.request);
            self.earlier = orders::earlier(connection, requests, self.default).await?;
        }
        let settlements = decision::firsts(self.settlements);
        let Some((held, now)) = self.check_fences(connection, &settlements).await? else {
            return Ok(vec![Settled::default(); self.settlements.len()]);
        };
        reach(Point::SettleFenced);
        let holds = |s: &&Settlement| held.contains(&(s.claim.order_id, s.claim.fence));
        let holders: Vec<_> = settlements.into_iter().filter(holds).collect();
        let (decisions, stock) = self.decide(connection, &holders, now).await?;
        let decided: Vec<_> = holders.into_iter().zip(&decisions).collect();
        write_stock(connection, &stock).await?;
        orders::insert(connection, &decision::placed(&decided)).await?;
        correct(connection, &decided).await?;
        let settled = decision::answers(self.settlements, &decided, now);
        let notices: Vec<_> = settled.iter().filter_map(|it| it.notice.as_ref()).collect();
        outbox::insert(connection, &notices, self.lease).await?;
        reach(Point::SettleWritten);
        Ok(settled)
    }
}

impl Settle<'_> {
    /// Decides; and decides again, with the earlier orders of their keys, before anybody is told no.
    async fn decide(
        &mut self,
        connection: &mut PgConnection,
        holders: &[&Settlement],
        now: OffsetDateTime,
    ) -> sqlx::Result<(Vec<Decision>, Stock)> {
        let locked = lock_stock(connection, holders).await?;
        let mut stock = locked.clone();
        let decide = |stock: &mut Stock, earlier: &Earlier| {
            decision::decide(holders.iter().copied(), stock, earlier, now)
        };
        let decisions = decide(&mut stock, &self.earlier);
        let doubtful = decision::doubtful(holders.iter().copied(), &decisions);
        let found = orders::earlier(connection, doubtful.into_iter(), self.default).await?;
        if found.is_empty() {
            return Ok((decisions, stock));
        }
        self.earlier.extend(found);
        let mut stock = locked;
        Ok((decide(&mut stock, &self.earlier), stock))
    }

    /// Writes the expected outcome wherever the fence holds. Answers which orders those are, under
    /// which fence, and the clock.
    async fn check_fences(
        &self,
        connection: &mut PgConnection,
        settlements: &[&Settlement],
    ) -> sqlx::Result<Option<(HashSet<(Uuid, i32)>, OffsetDateTime)>> {
        #[cfg(feature = "failpoints")]
        super::mutants::claim_late(connection, self.settlements, self.lease, self.default).await?;
        let outcomes: Vec<_> = settlements.iter().map(|s| s.expected()).collect();
        let decide = if is_off(Safeguard::FenceCheck) { DECIDE_UNFENCED } else { DECIDE };
        let held = bind_claims(sqlx::query(decide), settlements.iter().map(|s| &s.claim))
            .bind(outcomes.iter().map(Outcome::status).collect::<Vec<_>>())
            .bind(outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        let Some(first) = held.first() else { return Ok(None) };
        let now = first.try_get("decided_at")?;
        let held = held.iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("fence")?)));
        let ids = held.collect::<sqlx::Result<_>>()?;
        Ok(Some((ids, now)))
    }
}

async fn lock_stock(
    connection: &mut PgConnection,
    settlements: &[&Settlement],
) -> sqlx::Result<Stock> {
    let lines = settlements.iter().flat_map(|s| s.claim.request.basket.lines());
    let products: HashSet<i64> = lines.map(|line| line.product_id.get()).collect();
    if products.is_empty() {
        return Ok(Stock::new());
    }
    let products: Vec<_> = products.into_iter().collect();
    let locked = sqlx::query(LOCK_STOCK).bind(products).fetch_all(connection).await?;
    let left = |row: &sqlx::postgres::PgRow| {
        let product = proto::id::ProductId::new(row.try_get("product_id")?).map_err(rows::odd)?;
        Ok((product, row.try_get("stock")?))
    };
    locked.iter().map(left).collect()
}

async fn write_stock(connection: &mut PgConnection, stock: &Stock) -> sqlx::Result<()> {
    if stock.is_empty() {
        return Ok(());
    }
    sqlx::query(WRITE_STOCK)
        .bind(stock.keys().map(|product| product.get()).collect::<Vec<_>>())
        .bind(stock.values().copied().collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

/// Rewrites keys whose outcome is not the one that was expected.
async fn correct(connection: &mut PgConnection, decided: &Pairs<'_>) -> sqlx::Result<()> {
    let failed = decision::unexpected(decided);
    if !failed.is_empty() {
        bind_claims(sqlx::query(CORRECT), failed.iter().map(|(claim, _)| *claim))
            .bind(failed.iter().map(|(_, outcome)| outcome.status()).collect::<Vec<_>>())
            .bind(failed.iter().map(|(_, outcome)| outcome.to_json()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    for (settlement, decision) in decided {
        if let Decision::Restored(order) = decision {
            restore(connection, settlement, order).await?;
        }
    }
    Ok(())
}

/// Makes a key row what it was when it placed its order, from the order.
async fn restore(
    connection: &mut PgConnection,
    settlement: &Settlement,
    order: &Order,
) -> sqlx::Result<()> {
    let claim = &settlement.claim;
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
