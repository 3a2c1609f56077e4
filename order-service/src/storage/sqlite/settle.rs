//! T3, T3' and T4: a batch of decisions, one transaction.
//!
//! The order of steps is that of `postgres/settle.rs`, and for the same reasons.

use std::{collections::HashSet, time::Duration};

use database::{Sqlite, Transaction};
use failpoint::{Point, Safeguard, is_off, reach};
use proto::id::ProductId;
use sqlx::{Row, SqliteConnection};
use time::OffsetDateTime;

use super::{
    orders, outbox,
    rows::{self, Micros},
};
use crate::order::{
    Order,
    decision::{self, Decision, Earlier, Settled, Settlement, Stock},
    key::{Claim, Outcome},
};

const DECIDE: &str = "
    UPDATE idempotency_keys SET status = ?4, response = ?5, decided_at = ?6
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?7 AND status = 'PROCESSING'";

/// What [`Safeguard::FenceCheck`] keeps from happening.
const DECIDE_UNFENCED: &str = "
    UPDATE idempotency_keys SET status = ?4, response = ?5, decided_at = ?6
    WHERE account_id = ?1 AND idempotency_key = ?2 AND ?3 = ?3 AND order_id = ?7";

const CORRECT: &str = "
    UPDATE idempotency_keys SET status = ?4, response = ?5, decided_at = ?6
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3 AND order_id = ?7";

const RESTORE: &str = "
    UPDATE idempotency_keys SET order_id = ?4, amount = ?5, digest = ?6, request = ?7
    WHERE account_id = ?1 AND idempotency_key = ?2 AND fence = ?3";

const STOCK: &str = "SELECT stock FROM products WHERE product_id = ?1";

const WRITE_STOCK: &str = "UPDATE products SET stock = ?2 WHERE product_id = ?1";

pub(super) struct Settle<'a> {
    pub(super) settlements: &'a [Settlement],
    pub(super) lease: Duration,
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
            self.earlier = orders::earlier(connection, requests).await?;
        }
        let decide = if is_off(Safeguard::FenceCheck) { DECIDE_UNFENCED } else { DECIDE };
        let now = rows::now(connection).await?;
        let at = rows::time(now)?;
        let mut settled = vec![Settled::default(); self.settlements.len()];
        let mut holders = Vec::new();
        for (index, settlement) in self.settlements.iter().enumerate() {
            if write_key(connection, decide, &settlement.claim, &settlement.expected(), now).await?
            {
                holders.push((index, settlement));
            }
        }
        reach(Point::SettleFenced);
        let (decisions, stock) = self.decide(connection, &holders, at).await?;
        write_stock(connection, &stock).await?;
        for ((index, settlement), decision) in holders.into_iter().zip(decisions) {
            write(connection, settlement, &decision, now).await?;
            settled[index] = Settled::of(settlement, &decision, at);
        }
        let notices = settled.iter().filter_map(|settled| settled.notice.as_ref());
        outbox::insert(connection, notices, now + rows::micros(self.lease)).await?;
        reach(Point::SettleWritten);
        Ok(settled)
    }
}

impl Settle<'_> {
    /// Decides; and decides again, with the earlier orders of their keys, before anybody is told no.
    async fn decide(
        &mut self,
        connection: &mut SqliteConnection,
        holders: &[(usize, &Settlement)],
        at: OffsetDateTime,
    ) -> sqlx::Result<(Vec<Decision>, Stock)> {
        let read = read_stock(connection, holders).await?;
        let mut stock = read.clone();
        let holding = || holders.iter().map(|(_, settlement)| *settlement);
        let decisions = decision::decide(holding(), &mut stock, &self.earlier, at);
        let doubtful = decision::doubtful(holding(), &decisions);
        let found = orders::earlier(connection, doubtful.into_iter()).await?;
        if found.is_empty() {
            return Ok((decisions, stock));
        }
        self.earlier.extend(found);
        let mut stock = read;
        let decisions = decision::decide(holding(), &mut stock, &self.earlier, at);
        Ok((decisions, stock))
    }
}

/// Writes what a decision means, beyond the key row as it is expected.
async fn write(
    connection: &mut SqliteConnection,
    settlement: &Settlement,
    decision: &Decision,
    now: Micros,
) -> sqlx::Result<()> {
    match decision {
        Decision::Placed(order) => orders::insert(connection, order).await,
        Decision::Failed(outcome) if *outcome == settlement.expected() => Ok(()),
        Decision::Failed(outcome) => {
            write_key(connection, CORRECT, &settlement.claim, outcome, now).await.map(drop)
        }
        Decision::Restored(order) => restore(connection, &settlement.claim, order).await,
    }
}

async fn write_key(
    connection: &mut SqliteConnection,
    statement: &'static str,
    claim: &Claim,
    outcome: &Outcome,
    now: Micros,
) -> sqlx::Result<bool> {
    let written = sqlx::query(statement)
        .bind(claim.request.account.get())
        .bind(claim.request.key.as_str())
        .bind(claim.fence)
        .bind(outcome.status())
        .bind(outcome.to_json())
        .bind(now)
        .bind(claim.order_id)
        .execute(connection)
        .await?;
    Ok(written.rows_affected() == 1)
}

/// Makes a key row what it was when it placed its order, from the order.
async fn restore(
    connection: &mut SqliteConnection,
    claim: &Claim,
    order: &Order,
) -> sqlx::Result<()> {
    let outcome = Outcome::Placed { payment_id: order.payment_id };
    write_key(connection, CORRECT, claim, &outcome, rows::micros_of(order.placed_at)).await?;
    let request = order.request();
    sqlx::query(RESTORE)
        .bind(claim.request.account.get())
        .bind(claim.request.key.as_str())
        .bind(claim.fence)
        .bind(order.order_id)
        .bind(order.amount.units())
        .bind(request.digest().as_bytes())
        .bind(request.basket.to_json())
        .execute(connection)
        .await
        .map(drop)
}

async fn read_stock(
    connection: &mut SqliteConnection,
    holders: &[(usize, &Settlement)],
) -> sqlx::Result<Stock> {
    let lines = holders.iter().flat_map(|(_, s)| s.claim.request.basket.lines());
    let products: HashSet<ProductId> = lines.map(|line| line.product_id).collect();
    let mut stock = Stock::new();
    for product in products {
        let found = sqlx::query(STOCK).bind(product.get()).fetch_optional(&mut *connection).await?;
        if let Some(row) = found {
            stock.insert(product, row.try_get("stock")?);
        }
    }
    Ok(stock)
}

async fn write_stock(connection: &mut SqliteConnection, stock: &Stock) -> sqlx::Result<()> {
    for (product, left) in stock {
        let query = sqlx::query(WRITE_STOCK).bind(product.get()).bind(left);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
