//! Heartbeats: who lives, and what becomes of the leases of those who do not.
//!
//! Each process beats, every claim and every outbox row names the process that holds it, and a process that has been silent
//! for [`SILENCE`] counts as dead. Then another ends its leases, in one transaction, and from there on all goes as with any
//! lease that is over: keys are taken over by fence, outbox rows fall due. So nothing depends on the verdict: a process that
//! was only frozen finds its keys overtaken, and writes nothing.
//!
//! **Whoever judges must have been steady itself.** Silence may be the database's own: after an outage every beat is old,
//! and the first process to return would find all others dead. A process judges only after it has beaten without a gap for
//! as long as a silence lasts; in that time all others had their chance. A gap is half a silence, so that one process
//! does not take an outage for short that was a silence to another. The same holds for a process that was frozen itself,
//! and for a database whose clock leaps.
//!
//! **Twice.** A statement that the dead process had sent may take effect after its leases were ended. So they are ended once
//! more, later than any statement lives, and then its row goes: the table holds the living and those of a moment ago.
//!
//! Times are the database's. Only a living process's row is written as an owner.

use std::time::Duration;

use database::{Session, StoreError, Transaction};
use uuid::Uuid;

use crate::storage::{
    Ended, Store, Tables,
    tables::{Hold, Silence, Silent},
};

/// From when on a process counts as dead: six beats are missing by then. A process whose runtime or whose database lets
/// six beats in a row go by on a busy machine does not answer its callers either.
const SILENCE: Silence = Silence {
    after: Duration::from_secs(3),
    // Longer than an attempt of a session may take.
    again_after: Duration::from_secs(15),
    limit: 100,
};

/// Between two beats of a steady process at most.
const GAP_MAX: Duration = Duration::from_millis(1500);

/// How long an attempt to beat may take, connecting included.
const BEAT_TIMEOUT: Duration = Duration::from_secs(1);

struct Beat {
    worker: Uuid,
}

/// Looks for dead processes.
struct FindSilent {
    judge: Uuid,
}

/// Ends the leases of dead processes.
struct Reap {
    judge: Uuid,
}

/// Ends a process's own leases.
struct Retire {
    worker: Uuid,
}

impl<B: Tables> Store<B> {
    /// What this store claims and leases is held by this process.
    #[must_use]
    pub fn of_worker(self, worker: Uuid) -> Self {
        Self { worker: Some(worker), ..self }
    }

    /// For [`Store::beat`] alone: a connection whose commits are not flushed, and which is soon given up.
    #[must_use]
    pub fn for_beats(self) -> Self {
        let session = Session::new(B::for_beats(B::by_key(self.survey.clone())));
        Self { session: session.patient(BEAT_TIMEOUT), ..self }
    }

    /// Says that this process lives.
    ///
    /// # Errors
    /// When it was not written, or its outcome is unknown.
    pub async fn beat(&mut self) -> Result<(), StoreError> {
        let Some(worker) = self.worker else { return Ok(()) };
        self.session.statement(&mut Beat { worker }).await
    }

    /// Ends the leases of processes that are dead. Cheap while there are none.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then it is done later.
    pub async fn reap(&mut self) -> Result<Ended, StoreError> {
        let Some(judge) = self.worker else { return Ok(Ended::default()) };
        if self.session.read(&mut FindSilent { judge }).await?.is_empty() {
            return Ok(Ended::default());
        }
        self.session.transact(&mut Reap { judge }).await
    }

    /// Ends this process's own leases, when it has done all it can.
    ///
    /// # Errors
    /// When it was not done, or its outcome is unknown: then another process does it, when this one is silent.
    pub async fn retire(&mut self) -> Result<Ended, StoreError> {
        let Some(worker) = self.worker else { return Ok(Ended::default()) };
        self.session.transact(&mut Retire { worker }).await
    }

    /// Leases for this process.
    pub(super) fn hold(&self, lease: Duration) -> Hold {
        Hold { lease, owner: self.worker }
    }
}

impl<B: Tables> Transaction<B> for Beat {
    const NAME: &'static str = "beat";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        B::beat(connection, self.worker, GAP_MAX).await
    }
}

impl<B: Tables> Transaction<B> for FindSilent {
    const NAME: &'static str = "find_silent";
    type Output = Vec<Silent>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Silent>> {
        B::silent(connection, self.judge, SILENCE).await
    }
}

impl<B: Tables> Transaction<B> for Reap {
    const NAME: &'static str = "reap";
    type Output = Ended;
    // Leases whose end was lost are ended again, or end by themselves.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Ended> {
        // Once more, now under lock: it may have beaten since.
        let silent = B::silent(connection, self.judge, SILENCE).await?;
        let all: Vec<_> = silent.iter().map(|silent| silent.worker).collect();
        let ended = end::<B>(connection, &all).await?;

        let (again, first): (Vec<Silent>, Vec<_>) = silent.iter().partition(|silent| silent.again);
        let ids = |silent: Vec<Silent>| silent.into_iter().map(|it| it.worker).collect::<Vec<_>>();
        B::mark_ended(connection, &ids(first)).await?;
        B::forget_workers(connection, &ids(again)).await?;
        Ok(ended)
    }
}

impl<B: Tables> Transaction<B> for Retire {
    const NAME: &'static str = "retire";
    type Output = Ended;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Ended> {
        let ended = end::<B>(connection, &[self.worker]).await?;
        B::forget_workers(connection, &[self.worker]).await?;
        Ok(ended)
    }
}

async fn end<B: Tables>(connection: &mut B::Connection, workers: &[Uuid]) -> sqlx::Result<Ended> {
    let keys = B::end_key_leases(connection, workers).await?;
    let notices = B::end_notice_leases(connection, workers).await?;
    Ok(Ended { processes: workers.len(), keys, notices })
}
