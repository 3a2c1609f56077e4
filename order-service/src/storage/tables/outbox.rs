//! The steps on the outbox.

use std::collections::HashSet;

use database::Backend;
use proto::id::AccountId;
use uuid::Uuid;

use super::Hold;
use crate::{
    order::{Action, Notice},
    storage::outbox::{Backlog, RefusedNotice, Waiting},
};

/// What names a row.
pub type NoticeName = (AccountId, Uuid, Action);

/// The outbox as the service uses it.
///
/// A row is written with a lease for the process that wrote it, which tells the account service at once and deletes
/// the row. Only when that process dies or fails does the row fall due for another. A row that is tried again and again is
/// leased longer each time, up to eight times as long.
pub trait Outbox: Backend {
    /// Writes notices, leased to this process.
    fn insert_notices(
        connection: &mut Self::Connection,
        notices: &[&Notice],
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Leases rows that are due, passing over rows that another process is leasing.
    fn lease_notices(
        connection: &mut Self::Connection,
        limit: usize,
        hold: Hold,
    ) -> impl Future<Output = sqlx::Result<Vec<Notice>>> + Send;

    /// Deletes rows.
    fn delete_notices(
        connection: &mut Self::Connection,
        notices: &[Notice],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Writes why notices were refused and when they are told again. Answers those whose refusal is new.
    fn refuse_notices(
        connection: &mut Self::Connection,
        refused: &[RefusedNotice],
    ) -> impl Future<Output = sqlx::Result<HashSet<NoticeName>>> + Send;
}

/// The outbox as an operator sees it.
pub trait Settlements: Backend {
    /// Counts what stands there. Cheap, however much that is.
    fn backlog(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = sqlx::Result<Backlog>> + Send;

    /// Reads rows in the order of their keys: those after one.
    fn waiting(
        connection: &mut Self::Connection,
        after: Option<&Notice>,
        limit: usize,
    ) -> impl Future<Output = sqlx::Result<Vec<Waiting>>> + Send;

    /// Makes an order's rows due now, and answers them.
    fn hasten(
        connection: &mut Self::Connection,
        account: AccountId,
        order_id: Uuid,
    ) -> impl Future<Output = sqlx::Result<Vec<Waiting>>> + Send;

    /// Reads a row and locks it.
    fn lock_notice(
        connection: &mut Self::Connection,
        name: NoticeName,
    ) -> impl Future<Output = sqlx::Result<Option<Waiting>>> + Send;

    /// Records that a row was given up, and why, and deletes it.
    fn give_up_notice(
        connection: &mut Self::Connection,
        name: NoticeName,
        note: &str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}
