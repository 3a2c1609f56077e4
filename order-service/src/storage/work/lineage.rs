//! Where this database stands, and the ledger that its orders are paid from: see [`database::lineage`].

use database::{Discontinuity, Position, StoreError};

use crate::storage::{Store, Tables};

impl<B: Tables> Store<B> {
    /// Reads the database's position and judges it against what this process has seen.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn look(&mut self) -> Result<Result<Position, Discontinuity>, StoreError> {
        self.session.position().await
    }

    /// Accepts that commits are gone. Answers the new epoch. `is_copy`: the database also gets another identity, because the
    /// one that it is a copy of goes on.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn resume(&mut self, is_copy: bool) -> Result<i64, StoreError> {
        self.session.resume(is_copy).await
    }

    /// Reads the highest positions that were told of ledgers: of one, unless another was never forgotten.
    ///
    /// # Errors
    /// When they were not read.
    pub async fn ledgers(&mut self) -> Result<Vec<Position>, StoreError> {
        self.session.partners().await
    }

    /// Remembers how far a ledger has come.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn remember_ledger(&mut self, ledger: &Position) -> Result<(), StoreError> {
        self.session.remember_partner(ledger).await.map(drop)
    }

    /// Forgets which ledger these orders are paid from, so that the next one that answers is taken.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn forget_ledger(&mut self) -> Result<(), StoreError> {
        self.session.forget_partners().await
    }
}
