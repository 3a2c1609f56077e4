//! Room for new keys, and old ones let go of.

use database::StoreError;

use crate::storage::{Store, Tables};

impl<B: Tables> Store<B> {
    /// Makes room for the keys of days to come.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn make_room(&mut self) -> Result<(), StoreError> {
        B::make_room(&mut self.session, self.leases.key_lifetime).await
    }

    /// How many days after today have room for keys; negative when today has none, `None` where keys need no such room.
    ///
    /// # Errors
    /// When it was not read.
    pub async fn days_ahead(&mut self) -> Result<Option<i64>, StoreError> {
        B::days_ahead(&mut self.session).await
    }

    /// Lets go of keys whose lifetime is over, never of one still undecided. Answers how many partitions or rows went.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn keep_keys(&mut self) -> Result<u64, StoreError> {
        B::keep_keys(&mut self.session, self.leases.key_lifetime).await
    }
}
