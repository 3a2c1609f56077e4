//! The steps by which processes know of each other, and end the leases of one that fell silent.

use std::time::Duration;

use database::Backend;
use uuid::Uuid;

/// How long rows are leased, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct Hold {
    /// From now on, by the database's clock.
    pub lease: Duration,
    /// The process. It is written only while it is known to live; where there is none, the lease alone counts.
    pub owner: Option<Uuid>,
}

/// From when on a process counts as dead.
#[derive(Debug, Clone, Copy)]
pub struct Silence {
    /// After its last beat.
    pub after: Duration,
    /// How long after its leases were ended they are ended once more.
    pub again_after: Duration,
    /// How many processes at most.
    pub limit: usize,
}

/// A process that counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// Which.
    pub worker: Uuid,
    /// Its leases were ended before.
    pub again: bool,
}

/// Processes that work on keys.
pub trait Workers: Backend {
    /// Options for a connection that only beats. A beat that is lost in a crash is no loss, so its commit is not flushed.
    fn for_beats(options: Self::Options) -> Self::Options;

    /// Writes that a process lives. After a gap longer than `gap_max` it is steady only since now.
    fn beat(
        connection: &mut Self::Connection,
        worker: Uuid,
        gap_max: Duration,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads and locks processes that count as dead, passing over those that another process has locked. None, unless
    /// `judge` itself has beaten without a gap for as long as they were silent.
    fn silent(
        connection: &mut Self::Connection,
        judge: Uuid,
        silence: Silence,
    ) -> impl Future<Output = sqlx::Result<Vec<Silent>>> + Send;

    /// Ends the leases of undecided keys, and of batches of them, that these processes hold. Answers how many.
    fn end_key_leases(
        connection: &mut Self::Connection,
        owners: &[Uuid],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Makes outbox rows and batches of notices due that these processes lease, but for refused ones, which wait. Answers how
    /// many.
    fn end_notice_leases(
        connection: &mut Self::Connection,
        owners: &[Uuid],
    ) -> impl Future<Output = sqlx::Result<u64>> + Send;

    /// Notes that the leases of these processes were ended.
    fn mark_ended(
        connection: &mut Self::Connection,
        workers: &[Uuid],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Deletes processes.
    fn forget_workers(
        connection: &mut Self::Connection,
        workers: &[Uuid],
    ) -> impl Future<Output = sqlx::Result<()>> + Send;
}
