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
        if let Err(why) = lineage.meet(before.as_ref(), position.clone(), halted) {
            // Other processes may not have seen as much as this one.
            if let Some(seen) = before {
                self.look(&mut WriteHalt { seen }).await?;
            }
            return Ok(Err(why));
        }
        Ok(Ok(position))
    }

    /// Accepts that commits are gone: raises the epoch and lets work go on. Answers the new epoch. `is_copy`: the database
    /// also gets another identity, because the one that it is a copy of goes on.
    ///
    /// # Errors
    /// When it was not written, or nobody knows.
    pub async fn resume(&mut self, is_copy: bool) -> Result<i64, StoreError> {
        self.look(&mut RaiseEpoch { is_copy }).await
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

/// Writes down that the database is behind what was seen of it. It is read again in the same transaction: the connection
/// may lead to another server by now, one that took over from the server that was behind.
struct WriteHalt {
    seen: Position,
}

impl<B: Backend> Transaction<B> for WriteHalt {
    const NAME: &'static str = "write_halt";
    type Output = ();

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<()> {
        B::execute(connection, B::BEGIN).await?;
        let (position, _) = connection.position().await?;
        match position.follows(&self.seen) {
            Err(why @ (Discontinuity::CommitsLost { .. } | Discontinuity::EpochBehind { .. })) => {
                connection.halt(&why.to_string(), position.epoch).await?
            }
            // Another database's processes have seen what they have seen.
            Err(Discontinuity::OtherDatabase { .. } | Discontinuity::Halted(_)) | Ok(()) => {}
        }
        B::execute(connection, "COMMIT").await
    }
}

struct RaiseEpoch {
    is_copy: bool,
}

impl<B: Backend> Transaction<B> for RaiseEpoch {
    const NAME: &'static str = "raise_epoch";
    type Output = i64;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<i64> {
        connection.resume(self.is_copy).await
    }
}
