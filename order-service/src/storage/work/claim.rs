//! T0: claiming keys, at the catalogue's prices of now.
//!
//! The INSERT on the primary key is the check and the lock (A10). It commits by itself: a duplicate that arrives meanwhile
//! waits for one short commit, not for the whole order.
//!
//! **Orders speak for their keys.** A key that placed an order is never free again, though its row be let go of: a claim
//! looks among the orders too. So whoever asks later runs nothing, and no request that is not the key's stands in for its
//! owner, not even for a moment.

use std::collections::{BTreeSet, HashMap, HashSet};

use database::{StoreError, Transaction};
use proto::Currency;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    order::{
        key::{Claim, Home},
        request::{Price, Unpriced},
    },
    storage::{
        Claimed, Layout, NewClaim, Store, Tables,
        tables::{Begun, Hold, Inserted},
    },
};

struct ClaimKeys<'a> {
    claims: &'a [NewClaim],
    hold: Hold,
    layout: Layout,
    /// Lock the keys first; the work must then run in a transaction.
    locks: bool,
    /// Batches that this process has ended.
    ended: Vec<i64>,
    default: Currency,
}

struct ClaimedKeys {
    answers: Vec<Claimed>,
    /// The batch that the claims are in, if they are rows of orders.
    batch: Option<i64>,
    /// The database's clock, when a row said it.
    now: Option<OffsetDateTime>,
    /// Where claims go.
    layout: Layout,
}

/// Claims that went through: where their rows are, by their orders.
#[derive(Default)]
struct Gone {
    homes: HashMap<Uuid, Home>,
    batch: Option<i64>,
    now: Option<OffsetDateTime>,
}

impl<B: Tables> Store<B> {
    /// T0: claims keys that are free, at the catalogue's prices of now. A key that placed an order never is.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn claim(&mut self, claims: &[NewClaim]) -> Result<Vec<Claimed>, StoreError> {
        let layout = self.known_layout().await?;
        let now = self.clock.map(|(at, said)| said + at.elapsed());
        let locks = layout.is_locked() || !layout.is_in_orders() && B::must_lock_keys(now);
        let ended = if layout.is_in_orders() { self.underway.take_ended() } else { Vec::new() };
        let (hold, default) = (self.hold(self.leases.key), self.default);
        let mut work = ClaimKeys { claims, hold, layout, locks, ended, default };

        let claimed = if locks {
            self.session.transact(&mut work).await?
        } else {
            self.at_once(&mut work).await?
        };
        self.layout = Some(claimed.layout);
        if let Some(now) = claimed.now {
            self.clock = Some((Instant::now(), now));
        }
        if let Some(batch) = claimed.batch {
            self.underway.begin_claims(batch, claimed.answers.iter().filter_map(order_of));
        }
        Ok(claimed.answers)
    }
}

impl<B: Tables> Transaction<B> for ClaimKeys<'_> {
    const NAME: &'static str = "claim";
    type Output = ClaimedKeys;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<ClaimedKeys> {
        let lines = self.claims.iter().flat_map(|claim| claim.request.basket.lines());
        let products: BTreeSet<_> = lines.map(|line| line.product_id).collect();
        // Most baskets are amounts, for which nothing is asked.
        let prices = match products.is_empty() {
            true => HashMap::new(),
            false => B::prices(connection, &products, self.default).await?,
        };
        let price = |claim: &NewClaim| claim.request.price(&prices, self.default);
        let priced: Vec<_> = self.claims.iter().map(price).collect();

        let asked = asked_about(self.claims, &priced);
        let mut rows: Vec<_> = self.claims.iter().zip(&asked).filter_map(with_price).collect();
        // One order for all writers, so that two batches with keys in common do not deadlock.
        rows.sort_by_key(|(claim, _)| (claim.request.account, &claim.request.key));
        if self.locks {
            B::lock_keys(connection, &rows).await?;
        }
        let Gone { homes, batch, now } = self.insert::<B>(connection, &rows).await?;
        #[cfg(feature = "failpoints")]
        B::uncommit(connection, homes.keys().copied().collect()).await?;

        // The others are taken, or claims go elsewhere by now.
        let layout = match homes.len() < rows.len() {
            true => B::layout(connection).await?,
            false => self.layout,
        };
        let answer = |((claim, price), asked): ((&NewClaim, &Result<_, _>), &Option<Price>)| {
            let home = asked.and_then(|_| homes.get(&claim.order_id).copied());
            answer(claim, *price, home)
        };
        let answers = self.claims.iter().zip(&priced).zip(&asked).map(answer).collect();
        Ok(ClaimedKeys { answers, batch, now, layout })
    }
}

impl ClaimKeys<'_> {
    async fn insert<B: Tables>(
        &self,
        connection: &mut B::Connection,
        rows: &[(&NewClaim, Price)],
    ) -> sqlx::Result<Gone> {
        if rows.is_empty() {
            return Ok(Gone::default());
        }
        if self.layout.is_in_orders() {
            let begun =
                B::claim_in_orders(connection, rows, self.hold, self.layout, &self.ended).await?;
            let Begun { batch, homes } = begun;
            return Ok(Gone { homes, batch: Some(batch), now: None });
        }
        let Inserted { days, now } =
            B::insert_claims(connection, rows, self.hold, self.layout).await?;
        let homes = days.into_iter().map(|(order, day)| (order, Home::Keys(day))).collect();
        Ok(Gone { homes, batch: None, now })
    }
}

fn order_of(claimed: &Claimed) -> Option<Uuid> {
    match claimed {
        Claimed::Mine(claim) => Some(claim.order_id),
        Claimed::Taken | Claimed::Unpriced(_) => None,
    }
}

/// Which claims the database is asked about, and at which price: of each key the first that has one. The others find the
/// key taken, by that claim or by whoever had it before.
fn asked_about(claims: &[NewClaim], priced: &[Result<Price, Unpriced>]) -> Vec<Option<Price>> {
    let mut seen = HashSet::new();
    let mut ask = |claim: &NewClaim, price: &Result<Price, Unpriced>| {
        let price = (*price).ok()?;
        let name = (claim.request.account, claim.request.key.clone());
        seen.insert(name).then_some(price)
    };
    claims.iter().zip(priced).map(|(claim, price)| ask(claim, price)).collect()
}

fn with_price<'a>((claim, price): (&'a NewClaim, &Option<Price>)) -> Option<(&'a NewClaim, Price)> {
    price.map(|price| (claim, price))
}

/// What came of a claim at this price. `home` is that of its row, if it got one.
fn answer(claim: &NewClaim, price: Result<Price, Unpriced>, home: Option<Home>) -> Claimed {
    let Price { amount, currency } = match price {
        Ok(price) => price,
        Err(unpriced) => return Claimed::Unpriced(unpriced),
    };
    let NewClaim { request, order_id, fence } = claim.clone();
    let mine = |home| Claimed::Mine(Claim { request, order_id, amount, currency, fence, home });
    home.map_or(Claimed::Taken, mine)
}
