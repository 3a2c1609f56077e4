//! D, T1 and T5: reading keys, taking them over, handing them back.
//!
//! For a key without a row of its own its order speaks. It is looked for after the row, and only where there is none, so that
//! an order that is placed in between is seen; and so is a refusal, whose row stays among the orders for minutes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use database::{StoreError, Transaction};
use failpoint::{Safeguard, is_off};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};

use crate::{
    order::key::{Claim, Home, KeyRow},
    storage::{Overdue, Store, Tables, found::Found, tables::Hold},
};

struct ReadKeys<'a> {
    keys: &'a [(AccountId, IdempotencyKey)],
    default: Currency,
}

struct TakeOver<'a> {
    seen: &'a [Claim],
    hold: Hold,
}

struct Amend<'a> {
    claims: &'a [Claim],
    hold: Hold,
}

struct HandBack<'a> {
    in_orders: Vec<&'a Claim>,
    in_keys: Vec<&'a Claim>,
}

struct ReadOverdue {
    limit: usize,
    give_up: Duration,
    default: Currency,
}

impl<B: Tables> Store<B> {
    /// D: reads keys. One whose row was let go of is read from its order, if it placed one.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn keys(
        &mut self,
        keys: &[(AccountId, IdempotencyKey)],
    ) -> Result<Vec<Option<KeyRow>>, StoreError> {
        self.session.read(&mut ReadKeys { keys, default: self.default }).await
    }

    /// T1: takes keys over whose lease is over and whose fence is still the one seen. `None`: another process won.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn take_over(&mut self, seen: &[Claim]) -> Result<Vec<Option<Claim>>, StoreError> {
        let hold = self.hold(self.leases.key);
        let taken = self.session.transact(&mut TakeOver { seen, hold }).await?;
        let claims = taken.iter().flatten();
        let in_orders = claims.filter_map(|claim| Some((claim.batch()?, claim.order_id)));
        // All that one transaction takes over is in one batch.
        let orders: Vec<_> = in_orders.collect();
        if let Some((batch, _)) = orders.first() {
            self.underway.begin_claims(*batch, orders.iter().map(|(_, order_id)| *order_id));
        }
        Ok(taken)
    }

    /// Changes order id and amount of undecided keys where the fence is still the claim's. Answers for which it was.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn amend(&mut self, claims: &[Claim]) -> Result<Vec<bool>, StoreError> {
        self.session.transact(&mut Amend { claims, hold: self.hold(self.leases.key) }).await
    }

    /// T5: ends leases now, so that the next request need not wait.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn hand_back(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        let (in_orders, in_keys) = by_home(claims);
        let is_mixed = !in_orders.is_empty() && !in_keys.is_empty();
        let mut work = HandBack { in_orders, in_keys };
        // One statement, unless keys of both layouts wait together.
        if is_mixed {
            self.session.transact(&mut work).await?;
        } else {
            self.at_once(&mut work).await?;
        }
        self.leave(claims.iter());
        Ok(())
    }

    /// Finds keys whose lease is over, longest first.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        let (give_up, default) = (self.leases.give_up, self.default);
        self.session.transact(&mut ReadOverdue { limit, give_up, default }).await
    }

    /// Notes that these claims are not this process's to decide any more.
    pub(super) fn leave<'a>(&self, claims: impl Iterator<Item = &'a Claim>) {
        for claim in claims {
            if let Some(batch) = claim.batch() {
                self.underway.left(batch, claim.order_id);
            }
        }
    }
}

/// Tells apart claims whose rows are those of orders, and those whose rows are among the keys. Each in the order of their
/// keys, so that two batches with keys in common do not deadlock.
fn by_home(claims: &[Claim]) -> (Vec<&Claim>, Vec<&Claim>) {
    let mut sorted: Vec<_> = claims.iter().collect();
    sorted.sort_by_key(|claim| (claim.request.account, &claim.request.key));
    sorted.into_iter().partition(|claim| claim.batch().is_some())
}

impl<B: Tables> Transaction<B> for ReadKeys<'_> {
    const NAME: &'static str = "read_keys";
    type Output = Vec<Option<KeyRow>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let rows = B::key_rows(connection, self.keys, self.default).await?;
        let mut found: Found<_, _> = rows.into_iter().map(named).collect();
        if is_off(Safeguard::OrderUnique) {
            return Ok(found.answers(self.keys));
        }

        let gone = found.missing(self.keys);
        if !gone.is_empty() {
            let rows = B::keys_in_orders(connection, &gone, self.default).await?;
            found.extend(rows.into_iter().map(named));
        }
        Ok(found.answers(self.keys))
    }
}

fn named(row: KeyRow) -> ((AccountId, IdempotencyKey), KeyRow) {
    ((row.claim.request.account, row.claim.request.key.clone()), row)
}

impl<B: Tables> Transaction<B> for TakeOver<'_> {
    const NAME: &'static str = "take_over";
    type Output = Vec<Option<Claim>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let (in_orders, in_keys) = by_home(self.seen);
        let mut homes = HashMap::new();
        if !in_orders.is_empty() {
            homes = B::take_over_in_orders(connection, &in_orders, self.hold).await?;
        }
        if !in_keys.is_empty() {
            let taken = B::take_over(connection, &in_keys, self.hold).await?;
            homes.extend(
                taken.into_iter().map(|(order, day, seen)| ((order, seen), Home::Keys(day))),
            );
        }

        // One of equal claims takes the key over. The others come too late.
        let mut take = |claim: &Claim| {
            let home = homes.remove(&(claim.order_id, claim.fence))?;
            Some(Claim { fence: claim.fence + 1, home, ..claim.clone() })
        };
        Ok(self.seen.iter().map(&mut take).collect())
    }
}

impl<B: Tables> Transaction<B> for Amend<'_> {
    const NAME: &'static str = "amend";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<bool>> {
        let (in_orders, in_keys) = by_home(self.claims);
        let mut held = HashSet::new();
        if !in_orders.is_empty() {
            held.extend(B::amend_in_orders(connection, &in_orders, self.hold).await?);
        }
        if !in_keys.is_empty() {
            held.extend(B::amend(connection, &in_keys).await?);
        }
        Ok(self.claims.iter().map(|claim| held.contains(&(claim.order_id, claim.fence))).collect())
    }
}

impl<B: Tables> Transaction<B> for HandBack<'_> {
    const NAME: &'static str = "hand_back";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        if !self.in_orders.is_empty() {
            B::hand_back_in_orders(connection, &self.in_orders).await?;
        }
        if !self.in_keys.is_empty() {
            B::hand_back(connection, &self.in_keys).await?;
        }
        Ok(())
    }
}

impl<B: Tables> Transaction<B> for ReadOverdue {
    const NAME: &'static str = "read_overdue";
    type Output = Vec<Overdue>;
    // Batches that it forgets, and that are back, are forgotten again.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let Self { limit, give_up, default } = *self;
        let mut overdue = B::overdue_in_orders(connection, limit, give_up, default).await?;
        let room = limit - overdue.len();
        overdue.extend(B::overdue(connection, room, give_up, default).await?);
        Ok(overdue)
    }
}
