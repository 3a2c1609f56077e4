//! D, T1 and T5: reading keys, taking them over, handing them back.
//!
//! For a key whose row is gone its order speaks. It is looked for after the row, and only where there is none, so that an
//! order that is placed in between is seen.

use std::time::Duration;

use database::{StoreError, Transaction};
use failpoint::{Safeguard, is_off};
use proto::{
    Currency,
    id::{AccountId, IdempotencyKey},
};

use crate::{
    order::key::{Claim, KeyRow},
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
}

struct HandBack<'a> {
    claims: &'a [Claim],
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
        self.session.transact(&mut TakeOver { seen, hold }).await
    }

    /// Changes order id and amount of undecided keys where the fence is still the claim's. Answers for which it was.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn amend(&mut self, claims: &[Claim]) -> Result<Vec<bool>, StoreError> {
        self.session.transact(&mut Amend { claims }).await
    }

    /// T5: ends leases now, so that the next request need not wait.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn hand_back(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        self.at_once(&mut HandBack { claims }).await
    }

    /// Finds keys whose lease is over, longest first.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn overdue(&mut self, limit: usize) -> Result<Vec<Overdue>, StoreError> {
        let (give_up, default) = (self.leases.give_up, self.default);
        self.session.read(&mut ReadOverdue { limit, give_up, default }).await
    }
}

impl<B: Tables> Transaction<B> for ReadKeys<'_> {
    const NAME: &'static str = "read_keys";
    type Output = Vec<Option<KeyRow>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let rows = B::key_rows(connection, self.keys, self.default).await?;
        let name = |row: &KeyRow| (row.claim.request.account, row.claim.request.key.clone());
        let mut found: Found<_, _> = rows.into_iter().map(|row| (name(&row), row)).collect();
        if is_off(Safeguard::OrderUnique) {
            return Ok(found.answers(self.keys));
        }

        let gone: Vec<_> =
            found.missing(self.keys).iter().map(|(account, key)| (*account, key)).collect();
        if !gone.is_empty() {
            let placed = B::orders_of_keys(connection, &gone, self.default).await?;
            found.extend(placed.into_iter().map(|(name, order)| (name, KeyRow::of_order(&order))));
        }
        Ok(found.answers(self.keys))
    }
}

impl<B: Tables> Transaction<B> for TakeOver<'_> {
    const NAME: &'static str = "take_over";
    type Output = Vec<Option<Claim>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let mut taken = B::take_over(connection, self.seen, self.hold).await?;
        // One of equal claims takes the key over. The others come too late.
        let mut take = |claim: &Claim| {
            let is_taken = taken.remove(&(claim.order_id, claim.day, claim.fence));
            is_taken.then(|| Claim { fence: claim.fence + 1, ..claim.clone() })
        };
        Ok(self.seen.iter().map(&mut take).collect())
    }
}

impl<B: Tables> Transaction<B> for Amend<'_> {
    const NAME: &'static str = "amend";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<bool>> {
        let held = B::amend(connection, self.claims).await?;
        Ok(self.claims.iter().map(|claim| held.contains(&(claim.order_id, claim.fence))).collect())
    }
}

impl<B: Tables> Transaction<B> for HandBack<'_> {
    const NAME: &'static str = "hand_back";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        B::hand_back(connection, self.claims).await
    }
}

impl<B: Tables> Transaction<B> for ReadOverdue {
    const NAME: &'static str = "read_overdue";
    type Output = Vec<Overdue>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        B::overdue(connection, self.limit, self.give_up, self.default).await
    }
}
