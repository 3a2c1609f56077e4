//! T3, T3' and T4: a batch of decisions, one transaction.
//!
//! The order of steps is that of `postgres/settle.rs`, and for the same reasons.

use std::{collections::HashSet, time::Duration};

use database::{Sqlite, Transaction};
use failpoint::{Point, Safeguard, is_off, reach};
use proto::Currency;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    orders, outbox,
    rows::{self, Micros},
};
use crate::order::{
    Order,
    decision::{self, Decision, Earlier, Pairs, Settled, Settlement, Stock},
    key::{Claim, Outcome},
};

/// Undecided is `decided_at IS NULL` here, as in PostgreSQL, so that nobody thinks of the index of running keys.
const DECIDE: &str = "
    UPDATE idempotency_keys AS k SET status = c.value ->> 4, response = c.value ->> 5, decided_at = ?2
    FROM json_each(?1) AS c
    WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
      AND k.order_id = unhex(c.value ->> 2) AND k.fence = c.value ->> 3 AND k.decided_at IS NULL
    RETURNING order_id, fence";

/// What [`Safeguard::FenceCheck`] keeps from happening.
const DECIDE_UNFENCED: &str = "
    UPDATE idempotency_keys AS k SET status = c.value ->> 4, response = c.value ->> 5, decided_at = ?2
    FROM json_each(?1) AS c
    WHERE k.account_id = c.value ->> 0 AND k.idempotency_key = c.value ->> 1
      AND k.order_id = unhex(c.value ->> 2)
    RETURNING order_id, (SELECT value ->> 3 FROM json_each(?1) WHERE unhex(value ->> 2) = order_id) AS fence";

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

pub(super) struct Settle<'a> {
    pub(super) settlements: &'a [Settlement],
    pub(super) lease: Duration,
    /// What rows are in that name no currency.
    pub(super) default: Currency,
    /// The first run met a conflict: look for earlier orders.
    pub(super) again: bool,
    pub(super) earlier: Earlier,
}

impl Transaction<Sqlite> for Settle<'_> {
    const NAME: &'static str = "settle";
    type Output = Vec<Settled>;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<Vec<Settled>> {
        if std::mem::replace(&mut self.again, true) {
            let requests = self.settlements.iter().map(|s| &*s.claim.request);
            self.earlier = orders::earlier(connection, requests, self.default).await?;
        }
        let now = rows::now(connection).await?;
        let at = rows::time(now)?;
        let settlements = decision::firsts(self.settlements);
        let held = check_fences(connection, &settlements, now).await?;
        reach(Point::SettleFenced);
        let holds = |s: &&Settlement| held.contains(&(s.claim.order_id, s.claim.fence));
        let holders: Vec<_> = settlements.into_iter().filter(holds).collect();
        let (decisions, stock) = self.decide(connection, &holders, at).await?;
        let decided: Vec<_> = holders.into_iter().zip(&decisions).collect();
        write_stock(connection, &stock).await?;
        orders::insert(connection, &decision::placed(&decided)).await?;
        correct(connection, &decided).await?;
        let settled = decision::answers(self.settlements, &decided, at);
        let notices: Vec<_> = settled.iter().filter_map(|it| it.notice.as_ref()).collect();
        outbox::insert(connection, &notices, now + rows::micros(self.lease)).await?;
        reach(Point::SettleWritten);
        Ok(settled)
    }
}

impl Settle<'_> {
    /// Decides; and decides again, with the earlier orders of their keys, before anybody is told no.
    async fn decide(
        &mut self,
        connection: &mut SqliteConnection,
        holders: &[&Settlement],
        at: OffsetDateTime,
    ) -> sqlx::Result<(Vec<Decision>, Stock)> {
        let read = read_stock(connection, holders).await?;
        let mut stock = read.clone();
        let decide = |stock: &mut Stock, earlier: &Earlier| {
            decision::decide(holders.iter().copied(), stock, earlier, at)
        };
        let decisions = decide(&mut stock, &self.earlier);
        let doubtful = decision::doubtful(holders.iter().copied(), &decisions);
        let found = orders::earlier(connection, doubtful.into_iter(), self.default).await?;
        if found.is_empty() {
            return Ok((decisions, stock));
        }
        self.earlier.extend(found);
        let mut stock = read;
        Ok((decide(&mut stock, &self.earlier), stock))
    }
}

/// Writes the expected outcome wherever the fence holds. Answers which orders those are, under which fence.
async fn check_fences(
    connection: &mut SqliteConnection,
    settlements: &[&Settlement],
    now: Micros,
) -> sqlx::Result<HashSet<(Uuid, i32)>> {
    let decide = if is_off(Safeguard::FenceCheck) { DECIDE_UNFENCED } else { DECIDE };
    let expected = settlements.iter().map(|s| key_row(&s.claim, &s.expected()));
    let held = sqlx::query(decide).bind(rows::table(expected)).bind(now);
    let held = held.fetch_all(connection).await?;
    held.iter().map(|row| Ok((row.try_get("order_id")?, row.try_get("fence")?))).collect()
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

/// Rewrites keys whose outcome is not the one that was expected.
async fn correct(connection: &mut SqliteConnection, decided: &Pairs<'_>) -> sqlx::Result<()> {
    let failed = decision::unexpected(decided);
    if !failed.is_empty() {
        let failed = failed.into_iter().map(|(claim, outcome)| key_row(claim, outcome));
        sqlx::query(CORRECT).bind(rows::table(failed)).execute(&mut *connection).await?;
    }
    for (settlement, decision) in decided {
        if let Decision::Restored(order) = decision {
            restore(connection, &settlement.claim, order).await?;
        }
    }
    Ok(())
}

/// Makes a key row what it was when it placed its order, from the order.
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

async fn read_stock(
    connection: &mut SqliteConnection,
    holders: &[&Settlement],
) -> sqlx::Result<Stock> {
    let Some(products) = rows::products(holders.iter().map(|s| &s.claim.request.basket)) else {
        return Ok(Stock::new());
    };
    let found = sqlx::query(STOCK).bind(products).fetch_all(connection).await?;
    found.iter().map(|row| Ok((rows::product_id(row)?, row.try_get("stock")?))).collect()
}

async fn write_stock(connection: &mut SqliteConnection, stock: &Stock) -> sqlx::Result<()> {
    if stock.is_empty() {
        return Ok(());
    }
    let left = stock.iter().map(|(product, left)| json!([product.get(), left]));
    sqlx::query(WRITE_STOCK).bind(rows::table(left)).execute(connection).await.map(drop)
}
