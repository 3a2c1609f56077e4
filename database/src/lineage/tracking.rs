//! How a session takes part: each new connection is checked, each commit is counted, and readiness looks.

use crate::{Backend, Session, StoreError, Transaction};

use super::{Discontinuity, Lineage, LineageTables, Position};

impl<B: Backend> Session<B> {
    /// Reads the database's position and judges it against what this process has seen. A session that is not tracked only
    /// reads it.
    ///
    /// # Errors
    /// When the position cannot be read. What contradicts it is the inner error.
    pub async fn position(&mut self) -> Result<Result<Position, Discontinuity>, StoreError> {
        let lineage = self.lineage().cloned();
        let before = lineage.as_ref().and_then(Lineage::seen);
        let (position, halted) = self.look(&mut ReadPosition).await?;

        let Some(lineage) = lineage else { return Ok(Ok(position)) };
        let Err(why) = lineage.meet(before.as_ref(), position.clone(), halted) else {
            return Ok(Ok(position));
        };

        // Other processes may not have seen as much as this one. Another database is none of theirs.
        match &why {
            Discontinuity::CommitsLost { .. } | Discontinuity::EpochBehind { .. } => {
                let epoch = position.epoch;
                self.look(&mut WriteHalt { why: why.to_string(), epoch }).await?;
            }
            Discontinuity::OtherDatabase { .. } | Discontinuity::Halted(_) => {}
        }
        Ok(Err(why))
    }

    /// Accepts that commits are gone: raises the epoch and lets work go on. Answers the new epoch.
    ///
    /// # Errors
    /// When it was not written, or nobody knows.
    pub async fn resume(&mut self) -> Result<i64, StoreError> {
        self.look(&mut RaiseEpoch).await
    }
}

/// Makes sure, before anything else is done on a new connection, that it leads to where the last one led.
pub(crate) async fn check<B: Backend>(
    connection: &mut B::Connection,
    lineage: &Lineage,
) -> sqlx::Result<()> {
    let before = lineage.seen();
    let (position, halted) = connection.position().await?;
    lineage.meet(before.as_ref(), position, halted).map_err(refused)
}

/// Commits, and raises a commit counter with it where the lineage is tracked.
pub(crate) async fn commit<B: Backend>(
    connection: &mut B::Connection,
    lineage: Option<&Lineage>,
) -> sqlx::Result<()> {
    let Some(lineage) = lineage else {
        return B::execute(connection, "COMMIT").await;
    };
    let drawn = lineage.draw();
    let commits = connection.commit_counted(drawn.counter).await?;
    lineage.committed(drawn, commits);
    Ok(())
}

/// As an error of the database, for work that must not be done.
pub(crate) fn refused(why: Discontinuity) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(why))
}

struct ReadPosition;

impl<B: Backend> Transaction<B> for ReadPosition {
    const NAME: &'static str = "read_position";
    type Output = (Position, Option<String>);

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        connection.position().await
    }
}

struct WriteHalt {
    why: String,
    epoch: i64,
}

impl<B: Backend> Transaction<B> for WriteHalt {
    const NAME: &'static str = "write_halt";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        connection.halt(&self.why, self.epoch).await
    }
}

struct RaiseEpoch;

impl<B: Backend> Transaction<B> for RaiseEpoch {
    const NAME: &'static str = "raise_epoch";
    type Output = i64;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<i64> {
        connection.resume().await
    }
}
