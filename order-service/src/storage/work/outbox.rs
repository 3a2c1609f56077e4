//! The outbox: what the account service must still be told.

use database::{StoreError, Transaction};

use crate::{
    order::Notice,
    storage::{Store, Tables, outbox::RefusedNotice, tables::Hold},
};

struct LeaseNotices {
    limit: usize,
    hold: Hold,
}

struct FinishNotices<'a> {
    notices: &'a [Notice],
}

struct RefuseNotices<'a> {
    refused: &'a [RefusedNotice],
}

impl<B: Tables> Store<B> {
    /// Leases outbox rows that are due, passing over rows that another process is leasing.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then they fall due again.
    pub async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = LeaseNotices { limit, hold: self.hold(self.leases.notice) };
        self.session.transact(&mut work).await
    }

    /// Deletes outbox rows that the account service answered.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then they are told again.
    pub async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        self.at_once(&mut FinishNotices { notices }).await
    }

    /// Keeps outbox rows that the account service refused, to be told again at growing intervals. Answers for each whether
    /// this refusal is new: the first, or for another reason than before.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn refuse_notices(
        &mut self,
        refused: &[RefusedNotice],
    ) -> Result<Vec<bool>, StoreError> {
        self.session.transact(&mut RefuseNotices { refused }).await
    }
}

impl<B: Tables> Transaction<B> for LeaseNotices {
    const NAME: &'static str = "lease_notices";
    type Output = Vec<Notice>;
    // A row whose lease was lost is told again.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        B::lease_notices(connection, self.limit, self.hold).await
    }
}

impl<B: Tables> Transaction<B> for FinishNotices<'_> {
    const NAME: &'static str = "finish_notices";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        B::delete_notices(connection, self.notices).await
    }
}

impl<B: Tables> Transaction<B> for RefuseNotices<'_> {
    const NAME: &'static str = "refuse_notices";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<bool>> {
        let mut new = B::refuse_notices(connection, self.refused).await?;
        // Only the first of equal ones is new.
        let is_new = |RefusedNotice { notice, .. }: &RefusedNotice| {
            new.remove(&(notice.account, notice.order_id, notice.action))
        };
        Ok(self.refused.iter().map(is_new).collect())
    }
}
