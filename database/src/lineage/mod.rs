//! Noticing that a database went back in time.
//!
//! A restored backup or a standby that took over without the last commits looks like any other database, and whatever
//! the services go on to do on it is wrong: acknowledged orders are gone and their keys are free. So each database has
//! an identity, an epoch and commit counters (a [`Position`]), which its first migrations make, and every process
//! remembers the highest position it has seen:
//!
//! - each transaction of a tracked [`Session`](crate::Session) raises a counter in its own commit;
//! - each new connection is checked before anything else is done on it;
//! - [`Session::position`](crate::Session::position) reads the position again, for readiness.
//!
//! A position that cannot follow the highest one *halts* the process: all its database work is refused, and the reason
//! is written into the database, where every other process finds it. Work goes on when an operator has accepted the
//! loss by raising the epoch ([`Session::resume`](crate::Session::resume)). What outlives a process is remembered by
//! the other service in its own database ([`partners`]).
//!
//! Cost: one update of a small row per transaction, sent together with its COMMIT.

pub mod partners;
mod position;
mod tables;
mod tracking;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

pub use position::{COUNTERS, Discontinuity, Position};
pub use tables::LineageTables;
pub(crate) use tracking::{check, commit, refused};

/// What this process knows of its database's lineage. Cheap to clone; all sessions of a process share one.
#[derive(Debug, Clone)]
pub struct Lineage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Mirrors `State::halted`, for a look without the lock.
    is_halted: AtomicBool,
    next_counter: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    seen: Option<Position>,
    halted: Option<Discontinuity>,
}

impl Lineage {
    /// The lineage of this process, which begins to draw commit counters at a place of its own.
    pub fn of_process() -> Self {
        // The standard library seeds its hashers from the system's entropy.
        let seed = RandomState::new().build_hasher().finish();
        Self::new(usize::from(seed as u8))
    }

    /// Knows nothing yet. `first_counter`: where this process begins to draw commit counters, so that processes do not
    /// draw the same ones at the same time.
    pub fn new(first_counter: usize) -> Self {
        metrics::gauge!("database_halted").set(0.0);
        Self(Arc::new(Shared {
            state: Mutex::default(),
            is_halted: AtomicBool::new(false),
            next_counter: AtomicUsize::new(first_counter % COUNTERS),
        }))
    }

    /// The highest position seen so far.
    pub fn seen(&self) -> Option<Position> {
        self.state().seen.clone()
    }

    /// The database's id, once it was read.
    pub fn database_id(&self) -> Option<String> {
        self.state().seen.as_ref().map(|position| position.database_id.clone())
    }

    /// Takes over what another service has seen of this database. If it is more than there is, the next position that is
    /// read halts the process.
    pub fn learn(&self, position: &Position) {
        if let Some(seen) = &mut self.state().seen
            && seen.database_id == position.database_id
        {
            seen.merge(position);
        }
    }

    /// Why work is refused, if it is.
    ///
    /// # Errors
    /// What was noticed.
    pub fn check(&self) -> Result<(), Discontinuity> {
        if !self.0.is_halted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.state().halted.clone().map_or(Ok(()), Err)
    }

    /// Judges a position that was read after `before` was taken from [`seen`](Self::seen), and what another process
    /// may have written beside it.
    ///
    /// # Errors
    /// What contradicts it; the process is halted then.
    pub(crate) fn meet(
        &self,
        before: Option<&Position>,
        found: Position,
        halted: Option<String>,
    ) -> Result<(), Discontinuity> {
        let mut state = self.state();
        let judged = match halted {
            Some(why) => Err(Discontinuity::Halted(why)),
            None => before.map_or(Ok(()), |before| found.follows(before)),
        };

        if let Err(why) = judged {
            self.halt_in(&mut state, why.clone());
            return Err(why);
        }

        self.go_on_in(&mut state);
        match &mut state.seen {
            Some(seen) => seen.merge(&found),
            None => state.seen = Some(found),
        }
        Ok(())
    }

    /// Draws the commit counter for a transaction, with how far it was known to be.
    pub(crate) fn draw(&self) -> Drawn {
        let counter = self.0.next_counter.fetch_add(1, Ordering::Relaxed) % COUNTERS;
        let known = self.state().seen.as_ref().map_or(0, |seen| seen.commits_of(counter));
        Drawn { counter, known }
    }

    /// Notes how far a counter came with a commit of this process.
    pub(crate) fn committed(&self, Drawn { counter, known }: Drawn, commits: i64) {
        let mut state = self.state();
        let Some(seen) = &mut state.seen else { return };
        if commits <= known {
            let lost = known - commits + 1;
            self.halt_in(&mut state, Discontinuity::CommitsLost { lost });
            return;
        }
        seen.raise(counter, commits);
    }

    fn halt_in(&self, state: &mut State, why: Discontinuity) {
        if state.halted.as_ref() != Some(&why) {
            tracing::error!(%why, "the database does not continue what was seen of it: refusing all work");
        }
        metrics::gauge!("database_halted").set(1.0);
        state.halted = Some(why);
        self.0.is_halted.store(true, Ordering::Release);
    }

    fn go_on_in(&self, state: &mut State) {
        if state.halted.take().is_some() {
            tracing::info!("the database is accepted again: going on");
            metrics::gauge!("database_halted").set(0.0);
        }
        self.0.is_halted.store(false, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit counter, and how far it was known to be before the commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn {
    pub(crate) counter: usize,
    known: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commits: i64) -> Position {
        let commits = std::iter::once(commits).chain(std::iter::repeat_n(0, COUNTERS - 1));
        Position { database_id: "a".into(), epoch: 1, commits: commits.collect() }
    }

    #[test]
    fn a_position_read_before_a_commit_of_this_process_is_no_loss() {
        let lineage = Lineage::new(0);
        lineage.meet(None, at(5), None).unwrap();
        let before = lineage.seen();
        let drawn = lineage.draw();
        lineage.committed(drawn, 6);
        assert_eq!(lineage.meet(before.as_ref(), at(5), None), Ok(()));
        assert_eq!(lineage.seen(), Some(at(6)));
    }

    #[test]
    fn two_commits_of_one_counter_may_be_noted_in_either_order() {
        let lineage = Lineage::new(0);
        lineage.meet(None, at(5), None).unwrap();
        let first = Drawn { counter: 0, known: 5 };
        lineage.committed(first, 7);
        lineage.committed(first, 6);
        assert_eq!(lineage.check(), Ok(()));
        assert_eq!(lineage.seen(), Some(at(7)));
    }

    #[test]
    fn a_commit_on_a_database_that_went_back_halts_the_process_until_the_epoch_is_raised() {
        let lineage = Lineage::new(0);
        lineage.meet(None, at(5), None).unwrap();
        lineage.committed(Drawn { counter: 0, known: 5 }, 3);
        assert_eq!(lineage.check(), Err(Discontinuity::CommitsLost { lost: 3 }));

        let before = lineage.seen();
        assert!(lineage.meet(before.as_ref(), at(3), None).is_err());
        let accepted = Position { epoch: 2, ..at(3) };
        assert_eq!(lineage.meet(before.as_ref(), accepted, None), Ok(()));
        assert_eq!(lineage.check(), Ok(()));
    }

    #[test]
    fn what_another_process_noticed_halts_this_one_too() {
        let lineage = Lineage::new(0);
        let told = lineage.meet(None, at(5), Some("restored".into()));
        assert_eq!(told, Err(Discontinuity::Halted("restored".into())));
        assert_eq!(lineage.check(), told);
    }
}
