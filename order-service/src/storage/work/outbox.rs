//! What the account service must still be told: rows of the outbox, and batches of notices.

use database::{StoreError, Transaction};

use crate::{
    order::Notice,
    storage::{Store, Tables, outbox::RefusedNotice, tables::Hold},
};

struct LeaseNotices {
    limit: usize,
    hold: Hold,
}

struct FinishNotices {
    in_outbox: Vec<Notice>,
    /// Batches of which all was told.
    told: Vec<i64>,
}

struct RefuseNotices<'a> {
    refused: &'a [RefusedNotice],
    /// Batches of which all was told.
    told: Vec<i64>,
}

impl<B: Tables> Store<B> {
    /// Leases notices that are due, passing over those that another process is leasing.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then they fall due again.
    pub async fn lease_notices(&mut self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let mut work = LeaseNotices { limit, hold: self.hold(self.leases.notice) };
        let leased = self.session.transact(&mut work).await?;
        self.underway.begin_notices(leased.iter());
        Ok(leased)
    }

    /// Deletes notices that the account service answered; those of a batch when all of it is told.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then they are told again.
    pub async fn finish_notices(&mut self, notices: &[Notice]) -> Result<(), StoreError> {
        let in_outbox = notices.iter().filter(|notice| notice.batch.is_none());
        let mut in_outbox: Vec<_> = in_outbox.cloned().collect();
        // One order for all writers, so that two that tell the same do not deadlock.
        in_outbox.sort_by_key(|notice| (notice.account, notice.order_id, notice.action.as_str()));
        let mut work = FinishNotices { in_outbox, told: self.underway.told(notices.iter()) };
        match (work.in_outbox.is_empty(), work.told.is_empty()) {
            (true, true) => Ok(()),
            (true, false) | (false, true) => self.at_once(&mut work).await,
            (false, false) => self.session.transact(&mut work).await,
        }
    }

    /// Keeps notices that the account service refused, to be told again at growing intervals. Answers for each whether this
    /// refusal is new: the first, or for another reason than before.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown.
    pub async fn refuse_notices(
        &mut self,
        refused: &[RefusedNotice],
    ) -> Result<Vec<bool>, StoreError> {
        let notices = || refused.iter().map(|refused| &refused.notice);
        let told = self.underway.told(notices());
        let written = self.session.transact(&mut RefuseNotices { refused, told }).await;
        // Not written, they must be told again: their batches must not end with the others in them.
        if written.is_err() {
            self.underway.forget(notices());
        }
        written
    }
}

impl<B: Tables> Transaction<B> for LeaseNotices {
    const NAME: &'static str = "lease_notices";
    type Output = Vec<Notice>;
    // A row whose lease was lost is told again.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        // First what was never told: rows that stay in the outbox are refused ones, most of them.
        let mut leased = B::lease_notice_batches(connection, self.limit, self.hold).await?;
        let room = self.limit.saturating_sub(leased.len());
        leased.extend(B::lease_notices(connection, room, self.hold).await?);
        Ok(leased)
    }
}

impl<B: Tables> Transaction<B> for FinishNotices {
    const NAME: &'static str = "finish_notices";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        if !self.in_outbox.is_empty() {
            B::delete_notices(connection, &self.in_outbox).await?;
        }
        if !self.told.is_empty() {
            B::delete_notice_batches(connection, &self.told).await?;
        }
        Ok(())
    }
}

impl<B: Tables> Transaction<B> for RefuseNotices<'_> {
    const NAME: &'static str = "refuse_notices";
    type Output = Vec<bool>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<bool>> {
        let moved: Vec<_> =
            self.refused.iter().filter(|refused| refused.notice.batch.is_some()).collect();
        if !moved.is_empty() {
            B::move_to_outbox(connection, &moved).await?;
        }
        let mut new = B::refuse_notices(connection, self.refused).await?;
        if !self.told.is_empty() {
            B::delete_notice_batches(connection, &self.told).await?;
        }

        // Only the first of equal ones is new.
        let is_new = |RefusedNotice { notice, .. }: &RefusedNotice| {
            new.remove(&(notice.account, notice.order_id, notice.action))
        };
        Ok(self.refused.iter().map(is_new).collect())
    }
}
