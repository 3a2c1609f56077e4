//! How far a database has come, and what contradicts it: pure.

use thiserror::Error;

/// Commit counters of a database. Two transactions that draw the same one wait for each other's commit, and a reader
/// that holds an old snapshot keeps the dead versions of each: with this many, both stay rare.
pub const COUNTERS: usize = 256;

/// Who a database is and how far it has come, as read at one moment.
///
/// Positions of one database never go back while it keeps what it committed: each transaction raises one of the commit
/// counters in the same commit. An operator who accepts a loss raises the epoch, and from then on the counters count
/// afresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Made by the database's first migration; a copy or a backup has the same.
    pub database_id: String,
    /// Raised by an operator who accepts that commits were lost.
    pub epoch: i64,
    /// Commits by counter, [`COUNTERS`] of them.
    pub commits: Vec<i64>,
}

/// Why a position cannot follow one that was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Discontinuity {
    /// The address leads elsewhere now.
    #[error("it is database {found}, and {expected} was expected")]
    OtherDatabase {
        /// The one that was seen before.
        expected: String,
        /// The one that answers now.
        found: String,
    },
    /// A backup from before an operator accepted an earlier loss.
    #[error("it went back in time: it is in epoch {found}, and epoch {seen} was seen")]
    EpochBehind {
        /// The epoch that was seen before.
        seen: i64,
        /// The epoch it is in now.
        found: i64,
    },
    /// A backup was restored, or a standby took over without the last commits.
    #[error("it went back in time: {lost} commits that were seen are gone")]
    CommitsLost {
        /// How many at least.
        lost: i64,
    },
    /// Another process noticed, and wrote down why.
    #[error("{0}")]
    Halted(String),
}

impl Position {
    /// Whether this position, read later, can follow `seen`.
    ///
    /// # Errors
    /// What contradicts it.
    pub fn follows(&self, seen: &Self) -> Result<(), Discontinuity> {
        if self.database_id != seen.database_id {
            let (expected, found) = (seen.database_id.clone(), self.database_id.clone());
            return Err(Discontinuity::OtherDatabase { expected, found });
        }

        if self.epoch != seen.epoch {
            let (seen, found) = (seen.epoch, self.epoch);
            return if found > seen {
                Ok(())
            } else {
                Err(Discontinuity::EpochBehind { seen, found })
            };
        }

        let behind = |(counter, before): (usize, &i64)| (before - self.commits_of(counter)).max(0);
        let lost = seen.commits.iter().enumerate().map(behind).sum();
        if lost == 0 { Ok(()) } else { Err(Discontinuity::CommitsLost { lost }) }
    }

    /// Takes over what `other` saw beyond this position of the same database. Positions may arrive in any order.
    pub fn merge(&mut self, other: &Self) {
        if other.epoch > self.epoch {
            self.clone_from(other);
        }
        if other.epoch < self.epoch {
            return;
        }

        for (counter, commits) in other.commits.iter().enumerate().take(COUNTERS) {
            self.raise(counter, *commits);
        }
    }

    /// The commits of one counter.
    pub(crate) fn commits_of(&self, counter: usize) -> i64 {
        self.commits.get(counter).copied().unwrap_or_default()
    }

    /// Notes that a counter has come this far.
    pub(crate) fn raise(&mut self, counter: usize, commits: i64) {
        if self.commits.len() <= counter {
            self.commits.resize(counter + 1, 0);
        }
        let known = &mut self.commits[counter];
        *known = commits.max(*known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i64, commits: &[i64]) -> Position {
        Position { database_id: "a".into(), epoch, commits: commits.to_vec() }
    }

    #[test]
    fn a_position_follows_itself_and_whatever_it_passed() {
        assert_eq!(at(1, &[3, 4]).follows(&at(1, &[3, 4])), Ok(()));
        assert_eq!(at(1, &[5, 4]).follows(&at(1, &[3, 4])), Ok(()));
        assert_eq!(at(1, &[5, 4]).follows(&at(1, &[])), Ok(()));
    }

    #[test]
    fn lost_commits_are_counted_though_others_were_made_since() {
        let lost = at(1, &[9, 2, 0]).follows(&at(1, &[3, 4, 1]));
        assert_eq!(lost, Err(Discontinuity::CommitsLost { lost: 3 }));
        assert_eq!(
            at(1, &[9]).follows(&at(1, &[3, 4])),
            Err(Discontinuity::CommitsLost { lost: 4 })
        );
    }

    #[test]
    fn a_higher_epoch_forgives_and_a_lower_one_is_an_older_backup() {
        assert_eq!(at(2, &[0]).follows(&at(1, &[3])), Ok(()));
        let older = at(1, &[9]).follows(&at(2, &[3]));
        assert_eq!(older, Err(Discontinuity::EpochBehind { seen: 2, found: 1 }));
    }

    #[test]
    fn another_database_never_follows() {
        let other = Position { database_id: "b".into(), ..at(5, &[9]) };
        assert!(matches!(other.follows(&at(1, &[3])), Err(Discontinuity::OtherDatabase { .. })));
    }

    #[test]
    fn merging_keeps_the_highest_of_each_counter_and_the_newest_epoch() {
        let mut known = at(1, &[3, 4]);
        known.merge(&at(1, &[5, 1, 7]));
        assert_eq!(known, at(1, &[5, 4, 7]));
        known.merge(&at(2, &[1]));
        assert_eq!(known, at(2, &[1]));
        known.merge(&at(1, &[9, 9]));
        assert_eq!(known, at(2, &[1]));
    }
}
