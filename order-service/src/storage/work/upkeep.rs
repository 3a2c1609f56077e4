//! Room for new keys, and old ones let go of.

use database::{StoreError, Transaction};

use crate::storage::{Store, Tables};

/// Decisions whose refusals leave the orders at once, some fifty rows each, and how often in a row.
const LEAVE_AT_ONCE: usize = 50;
const LEAVE_ROUNDS: u32 = 20;

struct LetRefusalsLeave;

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
        self.let_refusals_leave().await?;
        B::keep_keys(&mut self.session, self.leases.key_lifetime).await
    }

    /// Lets rows of refusals leave the orders whose time has come, so many at most.
    ///
    /// # Errors
    /// When it was not done, or nobody knows.
    pub async fn let_refusals_leave(&mut self) -> Result<(), StoreError> {
        for _ in 0..LEAVE_ROUNDS {
            if self.session.transact(&mut LetRefusalsLeave).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl<B: Tables> Transaction<B> for LetRefusalsLeave {
    const NAME: &'static str = "let_refusals_leave";
    type Output = u64;
    // Rows that are back leave again.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<u64> {
        B::let_refusals_leave(connection, LEAVE_AT_ONCE).await
    }
}
