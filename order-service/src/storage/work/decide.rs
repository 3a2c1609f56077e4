//! T3, T3' and T4: a batch of decisions, one transaction.
//!
//! Step by step, and why in this order:
//!
//! 1. The keys, *where the fence is the claim's*. A worker that was overtaken matches no row and touches nothing else.
//! 2. The stock of the products concerned, locked in product order; then the core decides.
//! 3. Stock, orders, payments, outbox: one statement a table. A batch without lines skips the stock.
//! 4. Keys whose outcome is not the one expected in 1 (sold out), and keys that are restored from an earlier order.
//!
//! An order may exist already, when its key's row was let go of. Placing it again fails the unique key on `orders`; the
//! session rolls back and runs the batch again, looking for earlier orders first. Refusing it again fails nothing, so
//! earlier orders are looked for before any refusal is written. The common case pays for neither.

use std::{collections::BTreeSet, mem};

use database::{StoreError, Transaction};
use failpoint::{Point, reach};
use proto::Currency;
use time::OffsetDateTime;

use crate::{
    order::{
        decision::{self, Decision, Earlier, Pairs, Settled, Settlement, Stock},
        request::Request,
    },
    storage::{
        Store, Tables,
        tables::{Fenced, Hold},
    },
};

struct Decide<'a> {
    settlements: &'a [Settlement],
    /// This process's hold on the outbox rows.
    hold: Hold,
    default: Currency,
    /// The first run met a conflict: look for earlier orders.
    again: bool,
    earlier: Earlier,
}

impl<B: Tables> Store<B> {
    /// T3, T3' and T4: decides keys whose fence is still the claim's.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn decide(&mut self, settlements: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let (hold, default) = (self.hold(self.leases.notice), self.default);
        let (again, earlier) = (false, Earlier::new());
        let mut work = Decide { settlements, hold, default, again, earlier };
        self.session.transact(&mut work).await
    }
}

impl<B: Tables> Transaction<B> for Decide<'_> {
    const NAME: &'static str = "decide";
    type Output = Vec<Settled>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Settled>> {
        if mem::replace(&mut self.again, true) {
            let requests = self.settlements.iter().map(|s| &*s.claim.request).collect();
            self.earlier = earlier::<B>(connection, requests, self.default).await?;
        }
        #[cfg(feature = "failpoints")]
        super::mutants::claim_late::<B>(connection, self.settlements, self.hold).await?;

        let settlements = decision::firsts(self.settlements);
        let Some(Fenced { held, at }) = B::write_expected(connection, &settlements).await? else {
            return Ok(vec![Settled::default(); self.settlements.len()]);
        };
        reach(Point::SettleFenced);

        let holds = |s: &&Settlement| held.contains(&(s.claim.order_id, s.claim.fence));
        let holders: Vec<_> = settlements.into_iter().filter(holds).collect();
        let (decisions, stock) = self.fates::<B>(connection, &holders, at).await?;
        let decided: Vec<_> = holders.into_iter().zip(&decisions).collect();

        write::<B>(connection, &decided, &stock).await?;
        let settled = decision::answers(self.settlements, &decided, at);
        let notices: Vec<_> = settled.iter().filter_map(|it| it.notice.as_ref()).collect();
        if !notices.is_empty() {
            B::insert_notices(connection, &notices, self.hold).await?;
        }
        reach(Point::SettleWritten);
        Ok(settled)
    }
}

impl Decide<'_> {
    /// Decides; and decides again, with the earlier orders of their keys, before anybody is told no.
    async fn fates<B: Tables>(
        &mut self,
        connection: &mut B::Connection,
        holders: &[&Settlement],
        at: OffsetDateTime,
    ) -> sqlx::Result<(Vec<Decision>, Stock)> {
        let lines = holders.iter().flat_map(|s| s.claim.request.basket.lines());
        let products: BTreeSet<_> = lines.map(|line| line.product_id).collect();
        let locked = match products.is_empty() {
            true => Stock::new(),
            false => B::lock_stock(connection, &products).await?,
        };
        let decide = |stock: &mut Stock, earlier: &Earlier| {
            decision::decide(holders.iter().copied(), stock, earlier, at)
        };
        let mut stock = locked.clone();
        let decisions = decide(&mut stock, &self.earlier);

        let doubtful = decision::doubtful(holders.iter().copied(), &decisions);
        let found = earlier::<B>(connection, doubtful, self.default).await?;
        if found.is_empty() {
            return Ok((decisions, stock));
        }
        self.earlier.extend(found);
        let mut stock = locked;
        Ok((decide(&mut stock, &self.earlier), stock))
    }
}

/// Finds orders that the keys of these requests made before. Nothing is asked about none.
async fn earlier<B: Tables>(
    connection: &mut B::Connection,
    requests: Vec<&Request>,
    default: Currency,
) -> sqlx::Result<Earlier> {
    let keys: Vec<_> =
        requests.into_iter().map(|request| (request.account, &request.key)).collect();
    match keys.is_empty() {
        true => Ok(Earlier::new()),
        false => B::orders_of_keys(connection, &keys, default).await,
    }
}

/// Writes what was decided, but for what the keys say of it already.
async fn write<B: Tables>(
    connection: &mut B::Connection,
    decided: &Pairs<'_>,
    stock: &Stock,
) -> sqlx::Result<()> {
    if !stock.is_empty() {
        B::write_stock(connection, stock).await?;
    }
    let placed = decision::placed(decided);
    if !placed.is_empty() {
        B::insert_orders(connection, &placed).await?;
    }

    let failed = decision::unexpected(decided);
    if !failed.is_empty() {
        B::correct(connection, &failed).await?;
    }
    for (settlement, decision) in decided {
        if let Decision::Restored(order) = decision {
            B::restore(connection, &settlement.claim, order).await?;
        }
    }
    Ok(())
}
