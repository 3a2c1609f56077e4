//! One long-lived connection, owned by one worker.
//!
//! A [`Session`] opens its connection when it is first needed and again after it broke. While work runs the
//! connection is out of the session, and it is put back only after a clean end: work that fails oddly, takes too long
//! or panics costs a reconnect, never a wrong answer.

use std::{future::Future, time::Duration};

use sqlx::migrate::{MigrateError, Migrator};
use tokio::time::{sleep, timeout};

use crate::{Backend, Diagnosis, Fault, Lineage, StoreError, backend::late, lineage};

/// How long ending a failed transaction may take.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often one piece of work is begun, the first time included.
const ATTEMPTS: u32 = 4;

/// The same for a look at the database: a second time for a connection that broke since the last one. The next look is soon,
/// and wants to know why this one failed rather than wait for it.
const ATTEMPTS_TO_LOOK: u32 = 2;

/// The wait after the first failed attempt; each further one waits twice as long. In all well under a second.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// How long one attempt may take: longer than the limits that the database itself keeps.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);

/// Something to do in one transaction. It may be run more than once and must start afresh each time.
pub trait Transaction<B: Backend>: Send {
    /// What it is called in metrics and logs.
    const NAME: &'static str;
    /// What it finds out.
    type Output: Send;
    /// Whether somebody is told what it committed, so that the loss of its commit must be noticed: see
    /// [`crate::lineage`].
    const IS_COUNTED: bool = true;

    /// Does it, between BEGIN and COMMIT.
    fn run(
        &mut self,
        connection: &mut B::Connection,
    ) -> impl Future<Output = sqlx::Result<Self::Output>> + Send;
}

/// One connection to a database, reopened when it breaks.
pub struct Session<B: Backend> {
    options: B::Options,
    connection: Option<B::Connection>,
    /// The open connection leads to the database that is expected.
    is_checked: bool,
    lineage: Option<Lineage>,
    attempt_timeout: Duration,
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing that could take effect was sent.
    Before,
    /// What takes effect was sent: a COMMIT, or a statement that commits by itself.
    Sent,
}

/// What is around the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// BEGIN and COMMIT.
    Transaction,
    /// Nothing: it commits by itself.
    Statement,
    /// Nothing: it writes nothing.
    Read,
    /// Nothing, and the lineage does not matter: it is what is read.
    Look,
}

impl<B: Backend> Session<B> {
    /// A session that connects when it is first used.
    pub fn new(options: B::Options) -> Self {
        let (connection, lineage) = (None, None);
        Self { options, connection, is_checked: false, lineage, attempt_timeout: ATTEMPT_TIMEOUT }
    }

    /// Notices when the database went back in time, and refuses work from then on. The lineage's tables must be there.
    #[must_use]
    pub fn tracked(self, lineage: Lineage) -> Self {
        Self { lineage: Some(lineage), ..self }
    }

    /// For work that nobody waits for, such as reading a whole database: an attempt may take this long.
    #[must_use]
    pub fn patient(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// Runs work between BEGIN and COMMIT.
    ///
    /// Run again, from the start and a bounded number of times: after a conflict (serialization failure, deadlock,
    /// unique violation), and after a connection that broke *before* the commit was sent.
    pub async fn transact<T: Transaction<B>>(
        &mut self,
        work: &mut T,
    ) -> Result<T::Output, StoreError> {
        self.attempts(work, Frame::Transaction, ATTEMPTS).await
    }

    /// Runs one statement that commits by itself.
    ///
    /// It must be safe to run twice: it is run again after a connection broke, when nobody knows whether the first
    /// time took effect. If no later run says so either, the error is [`StoreError::OutcomeUnknown`].
    pub async fn statement<T: Transaction<B>>(
        &mut self,
        work: &mut T,
    ) -> Result<T::Output, StoreError> {
        self.attempts(work, Frame::Statement, ATTEMPTS).await
    }

    /// Runs work that writes nothing.
    pub async fn read<T: Transaction<B>>(&mut self, work: &mut T) -> Result<T::Output, StoreError> {
        self.attempts(work, Frame::Read, ATTEMPTS).await
    }

    /// As [`Session::read`], though the lineage be unknown or broken, and sooner done when it fails: for readiness and
    /// operators.
    pub(crate) async fn look<T: Transaction<B>>(
        &mut self,
        work: &mut T,
    ) -> Result<T::Output, StoreError> {
        self.attempts(work, Frame::Look, ATTEMPTS_TO_LOOK).await
    }

    /// What this process knows of the database, if it is tracked.
    pub(crate) fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// Brings the schema up to date.
    pub async fn migrate(&mut self, migrator: &Migrator) -> Result<(), MigrateError> {
        let mut connection = B::connect(&self.options).await.map_err(MigrateError::Execute)?;
        B::migrate(&mut connection, migrator).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn attempts<T: Transaction<B>>(
        &mut self,
        work: &mut T,
        frame: Frame,
        most: u32,
    ) -> Result<T::Output, StoreError> {
        let mut pause = FIRST_PAUSE;
        let mut unknown = false;
        for attempt in 1.. {
            let mut stage = Stage::Before;
            let error = match self.attempt(work, frame, &mut stage).await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let Diagnosis { fault, reason } = Diagnosis::of(&error);
            metrics::counter!("database_errors_total", "work" => T::NAME, "reason" => reason.as_str())
                .increment(1);
            unknown |= (fault, stage) == (Fault::Gone, Stage::Sent);
            let again = match fault {
                Fault::Gone if stage == Stage::Sent && frame == Frame::Transaction => false,
                Fault::Gone | Fault::Stale | Fault::Conflict => attempt < most,
                Fault::Busy | Fault::Defect => false,
            };
            match fault {
                _ if again => {}
                _ if unknown => return Err(StoreError::OutcomeUnknown(error)),
                Fault::Defect => return Err(StoreError::Failed(error)),
                Fault::Gone | Fault::Stale | Fault::Conflict | Fault::Busy => {
                    return Err(StoreError::Unavailable(error));
                }
            }
            metrics::counter!("database_retries_total", "work" => T::NAME).increment(1);
            let reason = reason.as_str();
            tracing::debug!(work = T::NAME, attempt, reason, %error, "database work is run again");
            sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop ends at its bound")
    }

    /// Runs work once. The connection is back in the session only if it is known to be clean.
    async fn attempt<T: Transaction<B>>(
        &mut self,
        work: &mut T,
        frame: Frame,
        stage: &mut Stage,
    ) -> sqlx::Result<T::Output> {
        let lineage = self.lineage.clone().filter(|_| frame != Frame::Look);
        if let Some(lineage) = &lineage {
            lineage.check().map_err(lineage::refused)?;
        }

        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => {
                self.is_checked = false;
                B::connect(&self.options).await?
            }
        };
        let is_checked = self.is_checked || lineage.is_none();

        let once = async {
            if let Some(lineage) = lineage.as_ref().filter(|_| !is_checked) {
                lineage::check::<B>(&mut connection, lineage).await?;
            }
            if frame != Frame::Transaction {
                if frame == Frame::Statement {
                    *stage = Stage::Sent;
                }
                return work.run(&mut connection).await;
            }
            B::execute(&mut connection, B::BEGIN).await?;
            let output = work.run(&mut connection).await?;
            *stage = Stage::Sent;
            lineage::commit::<B>(&mut connection, lineage.as_ref().filter(|_| T::IS_COUNTED))
                .await?;
            Ok(output)
        };
        let result = timeout(self.attempt_timeout, once).await.unwrap_or_else(|_| Err(late()));
        self.is_checked |= result.is_ok() && lineage.is_some();
        match result.as_ref().map_err(|error| Diagnosis::of(error).fault) {
            Ok(_) => self.connection = Some(connection),
            Err(Fault::Gone | Fault::Stale) => {}
            Err(Fault::Conflict | Fault::Busy | Fault::Defect) => {
                self.connection = roll_back::<B>(connection, frame).await;
            }
        }
        result
    }
}

/// Ends a failed transaction; a connection on which even that fails is not given back.
async fn roll_back<B: Backend>(
    mut connection: B::Connection,
    frame: Frame,
) -> Option<B::Connection> {
    if frame != Frame::Transaction {
        return Some(connection);
    }
    let ending = B::execute(&mut connection, "ROLLBACK");
    let ended = timeout(ROLLBACK_TIMEOUT, ending).await;
    matches!(ended, Ok(Ok(()))).then_some(connection)
}
