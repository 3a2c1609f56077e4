//! The steps on what whole transactions left to be told.

use database::Backend;
use proto::id::AccountId;
use uuid::Uuid;

use crate::{
    order::Notice,
    storage::{
        outbox::{RefusedNotice, Waiting},
        tables::Hold,
    },
};

/// Notices of one transaction, in one row. A row is written with a lease for the process that wrote it, and deleted once all of
/// it was told. One that the account service refuses moves to the outbox.
pub trait NoticeBatches: Backend {
    /// Writes a row, leased to this process, and answers which it is.
    fn insert_notice_batch(
        connection: &mut Self::Connection,
        notices: &[&Notice],
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<i64>> + Send;

    /// Leases rows that are due, with so many notices at most, passing over rows that another process is leasing.
    fn lease_notice_batches(
        connection: &mut Self::Connection,
        limit: usize,
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<Vec<Notice>>> + Send;

    /// Deletes rows.
    fn delete_notice_batches(
        connection: &mut Self::Connection,
        batches: &[i64],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Moves notices of such rows that were refused to the outbox, unless they are there.
    fn move_to_outbox(
        connection: &mut Self::Connection,
        refused: &[&RefusedNotice],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads the rows that name an order, and makes them due now.
    fn hasten_notice_batches(
        connection: &mut Self::Connection,
        account: AccountId,
        order_id: Uuid,
    ) -> impl Future<Output = sqlx::Result<Vec<Waiting>>> + Send;
}
