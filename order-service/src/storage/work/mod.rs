//! The transactions of [`super::Store`], once for both databases: each loads, decides and writes by the steps of
//! [`Tables`](super::Tables).

mod catalogue;
mod claim;
mod decide;
mod keys;
mod layout;
mod lineage;
#[cfg(feature = "failpoints")]
mod mutants;
mod orders;
mod outbox;
mod settlements;
mod upkeep;
mod verify;
mod workers;

use database::{StoreError, Transaction};

use super::{Store, Tables};

impl<B: Tables> Store<B> {
    /// Runs work that is one step for a batch: by itself, where a batch is one statement and so commits by itself.
    async fn at_once<T: Transaction<B>>(&mut self, work: &mut T) -> Result<T::Output, StoreError> {
        if B::BATCH_IS_A_STATEMENT {
            self.session.statement(work).await
        } else {
            self.session.transact(work).await
        }
    }
}
