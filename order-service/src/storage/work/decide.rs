//! T3, T3' and T4: a batch of decisions, one transaction.
//!
//! Step by step, and why in this order:
//!
//! 1. The keys, *where the fence is the claim's*. A worker that was overtaken matches no row and touches nothing else.
//!    Where the key's row is the order's, this places the order.
//! 2. The stock of the products concerned, locked in product order; then the core decides.
//! 3. Stock, and what of orders and payments is not in the row of the key. A batch without lines skips the stock.
//! 4. Keys whose outcome is not the one expected in 1 (sold out), and refusals, kept for the lifetime of their keys.
//! 5. What is to be told.
//!
//! Where the key has a row of its own, an order may exist already, when that row was let go of. Placing it again fails the
//! unique key on `orders`; the session rolls back and runs the batch again, looking for earlier orders first. Refusing it
//! again fails nothing, so earlier orders are looked for before any refusal is written. The common case pays for neither.

use std::{
    collections::{BTreeSet, HashSet},
    mem,
    time::Duration,
};

use database::{StoreError, Transaction};
use failpoint::{Point, reach};
use proto::Currency;
use time::OffsetDateTime;

use crate::{
    order::{
        decision::{self, Decision, Earlier, Pairs, Settled, Settlement, Stock},
        key::Claim,
        request::Request,
    },
    storage::{
        Store, Tables,
        tables::{Fenced, Hold},
    },
};

/// How long the row of a refusal stays among the orders: many times longer than a statement may live. A claim that began before
/// the refusal waits for whoever deletes the row, and then takes the key, by what it saw of the refusals.
const REFUSED_STAY: Duration = Duration::from_secs(120);

type Pair<'a> = (&'a Settlement, &'a Decision);

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
        let settled = self.session.transact(&mut work).await?;

        self.underway.begin_notices(settled.iter().filter_map(|settled| settled.notice.as_ref()));
        self.leave(settlements.iter().map(|settlement| &settlement.claim));
        Ok(settled)
    }
}

impl<B: Tables> Transaction<B> for Decide<'_> {
    const NAME: &'static str = "decide";
    type Output = Vec<Settled>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Settled>> {
        if mem::replace(&mut self.again, true) {
            let requests = requests(self.settlements);
            self.earlier = earlier::<B>(connection, requests, self.default).await?;
        }
        #[cfg(feature = "failpoints")]
        super::mutants::claim_late::<B>(connection, self.settlements, self.hold).await?;

        let settlements = decision::firsts(self.settlements);
        let Some(Fenced { held, at }) = expect::<B>(connection, &settlements).await? else {
            return Ok(vec![Settled::default(); self.settlements.len()]);
        };
        reach(Point::SettleFenced);

        let holds = |s: &&Settlement| held.contains(&(s.claim.order_id, s.claim.fence));
        let holders: Vec<_> = settlements.into_iter().filter(holds).collect();
        let (decisions, stock) = self.fates::<B>(connection, &holders, at).await?;
        let decided: Vec<_> = holders.into_iter().zip(&decisions).collect();

        write::<B>(connection, &decided, &stock).await?;
        let mut settled = decision::answers(self.settlements, &decided, at);
        self.leave_to_be_told::<B>(connection, &mut settled).await?;
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

    /// Writes the notices, in one row where keys are rows of orders.
    async fn leave_to_be_told<B: Tables>(
        &self,
        connection: &mut B::Connection,
        settled: &mut [Settled],
    ) -> sqlx::Result<()> {
        let notices: Vec<_> = settled.iter().filter_map(|it| it.notice.as_ref()).collect();
        if notices.is_empty() {
            return Ok(());
        }
        if self.settlements.iter().all(|settlement| settlement.claim.batch().is_none()) {
            return B::insert_notices(connection, &notices, self.hold).await;
        }
        let batch = B::insert_notice_batch(connection, &notices, self.hold).await?;
        settled
            .iter_mut()
            .filter_map(|it| it.notice.as_mut())
            .for_each(|it| it.batch = Some(batch));
        Ok(())
    }
}

/// Writes the expected outcome wherever the fence holds and the key is undecided. `None`: nowhere.
async fn expect<B: Tables>(
    connection: &mut B::Connection,
    settlements: &[&Settlement],
) -> sqlx::Result<Option<Fenced>> {
    // One order for all writers, so that two batches with keys in common do not deadlock.
    let mut sorted = settlements.to_vec();
    sorted.sort_by_key(|s| (s.claim.request.account, &s.claim.request.key));
    let (in_orders, in_keys): (Vec<&Settlement>, Vec<&Settlement>) =
        sorted.into_iter().partition(|settlement| settlement.claim.batch().is_some());
    // An order counts as placed when its key was claimed, if that is in its row.
    let mut fenced = Fenced { held: HashSet::new(), at: OffsetDateTime::UNIX_EPOCH };
    if !in_orders.is_empty() {
        fenced.held = B::expect_in_orders(connection, &in_orders).await?;
    }
    if !in_keys.is_empty()
        && let Some(Fenced { held, at }) = B::write_expected(connection, &in_keys).await?
    {
        fenced.held.extend(held);
        fenced.at = at;
    }
    Ok((!fenced.held.is_empty()).then_some(fenced))
}

/// The requests whose keys may have made an order before. A key whose row is the order's has not.
fn requests(settlements: &[Settlement]) -> Vec<&Request> {
    let in_keys = settlements.iter().filter(|settlement| settlement.claim.batch().is_none());
    in_keys.map(|settlement| &*settlement.claim.request).collect()
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
    let (in_orders, in_keys): (Vec<Pair<'_>>, Vec<Pair<'_>>) =
        decided.iter().partition(|(settlement, _)| settlement.claim.batch().is_some());
    write_in_orders::<B>(connection, &in_orders).await?;
    write_in_keys::<B>(connection, &in_keys).await
}

/// Where keys are rows of orders, what was placed says so by now.
async fn write_in_orders<B: Tables>(
    connection: &mut B::Connection,
    decided: &Pairs<'_>,
) -> sqlx::Result<()> {
    let failed = decision::unexpected(decided);
    if !failed.is_empty() {
        B::correct_in_orders(connection, &failed).await?;
    }
    let refused: Vec<_> = decided.iter().filter_map(refused).collect();
    if !refused.is_empty() {
        B::keep_refusals(connection, &refused, REFUSED_STAY).await?;
    }
    Ok(())
}

async fn write_in_keys<B: Tables>(
    connection: &mut B::Connection,
    decided: &Pairs<'_>,
) -> sqlx::Result<()> {
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

fn refused<'a>((settlement, decision): &Pair<'a>) -> Option<&'a Claim> {
    match decision {
        Decision::Failed(_) => Some(&settlement.claim),
        Decision::Placed(_) | Decision::Restored(_) => None,
    }
}
