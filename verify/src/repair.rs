//! Repairing: plans range by range, says each action in a line of JSON, and with `apply` does it through the services'
//! own calls. Neither database is ever written.
//!
//! Each action is idempotent by ids made from the order's, so that a repair that was broken off is begun again from the
//! start, and one that is complete finds nothing more to do.

use std::io::{self, Write};

use database::DatabaseUrl;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use thiserror::Error;
use tonic::Status;

use crate::{
    calls::{Calls, Outcome},
    plan::{Action, Knowledge, Step, plan},
    read::ReadError,
    walk::{Settings, Walk},
};

/// Accounts that are worked on at once. One account's actions follow each other: each of them changes what the next may
/// take.
const AT_ONCE: usize = 8;

/// What became of all actions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Actions that would be done.
    pub planned: usize,
    /// Actions that were done.
    pub done: usize,
    /// What comes about by itself.
    pub waits: usize,
    /// What people must decide: no rule covers it, or the services refused it.
    pub by_hand: usize,
}

/// Why a repair ended before its end. It can be begun again.
#[derive(Debug, Error)]
pub enum RepairError {
    /// A database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A service does not answer.
    #[error("a service does not answer, and the repair stopped: {0}")]
    Away(Status),
    /// The lines cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// A line of the output.
#[derive(Serialize)]
struct Line<'a> {
    account: i64,
    order: String,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    why: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl Tally {
    /// Nothing is left that this program or people must do.
    #[must_use]
    pub fn ok(self) -> bool {
        self.planned == 0 && self.by_hand == 0
    }
}

/// Walks both books and says, or with `calls` does, what brings them together.
///
/// # Errors
/// When a database cannot be read, a service does not answer, or the lines cannot be written.
pub async fn repair(
    databases: &[DatabaseUrl; 2],
    settings: Settings,
    knowledge: Knowledge,
    calls: Option<&Calls>,
    mut lines: impl Write,
) -> Result<Tally, RepairError> {
    let [account, order] = databases;
    let mut walk = Walk::new(account, order, settings);
    let mut tally = Tally::default();
    while let Some(range) = walk.next().await? {
        let actions = plan(&range.unsound, settings.rules, knowledge);
        let accounts = actions.chunk_by(|a, b| a.name.account == b.name.account);
        let mut worked_on = stream::iter(accounts)
            .map(|actions| async move { (actions, carry_out(actions, calls).await) })
            .buffered(AT_ONCE);

        while let Some((actions, (outcomes, away))) = worked_on.next().await {
            // What was done before a service went away was done: it is said first.
            for (action, outcome) in actions.iter().zip(outcomes) {
                tell(&mut lines, action, outcome, &mut tally)?;
            }
            if let Some(status) = away {
                return Err(RepairError::Away(status));
            }
        }
    }
    Ok(tally)
}

/// Does one account's actions, until a service does not answer.
async fn carry_out(
    actions: &[Action],
    calls: Option<&Calls>,
) -> (Vec<Option<Outcome>>, Option<Status>) {
    let mut outcomes = Vec::with_capacity(actions.len());
    for action in actions {
        let outcome = match calls.filter(|_| action.step.is_a_call()) {
            None => None,
            Some(calls) => match calls.carry_out(action).await {
                Ok(outcome) => Some(outcome),
                Err(status) => return (outcomes, Some(status)),
            },
        };
        outcomes.push(outcome);
    }
    (outcomes, None)
}

fn tell(
    lines: &mut impl Write,
    action: &Action,
    outcome: Option<Outcome>,
    tally: &mut Tally,
) -> io::Result<()> {
    let (state, refused) = match (action.step, outcome) {
        (Step::Wait, _) => {
            tally.waits += 1;
            ("waits", None)
        }
        (Step::ByHand, _) => {
            tally.by_hand += 1;
            ("by hand", None)
        }
        (_, None) => {
            tally.planned += 1;
            ("planned", None)
        }
        (_, Some(Outcome::Done)) => {
            tally.done += 1;
            ("done", None)
        }
        (_, Some(Outcome::Refused(why))) => {
            tally.by_hand += 1;
            ("refused", Some(why))
        }
    };
    let line = Line {
        account: action.name.account,
        order: action.name.id.to_string(),
        action: action.step.word(),
        amount: action.step.amount().map(|amount| amount.to_string()),
        why: action.why,
        state,
        refused,
    };
    serde_json::to_writer(&mut *lines, &line)?;
    writeln!(lines)
}
