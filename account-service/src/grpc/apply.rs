//! `Apply`: many commands in one call.
//!
//! Commands are handed in one by one, in their order, so that those of this call and of others share batches. A command
//! that is wrong or refused fails alone. Trouble that will pass fails the call, so that the caller's channel sends all of
//! it again; a defect fails its command only, so that one damaged account holds nobody else up.

use std::sync::Arc;

use futures_util::future::try_join_all;
use proto::{Failure, Fields, Reason, account::v1 as api};
use serde_json::{Value, json};
use server::TooMuch;
use tonic::Status;

use super::{
    parse::{self, Defaults},
    status,
    trail::{self, Origin},
};
use crate::{
    desk::{CommandError, Desk, Trouble},
    ledger::Command,
};

/// Commands in one call: twice what one transaction takes, and far below the size limit of a message.
const COMMANDS_MAX: usize = 512;

/// A command as it was understood, or what is wrong with it.
pub(super) type Parsed = Result<Command, Failure>;

pub(super) fn parse(
    request: api::ApplyRequest,
    defaults: &Defaults,
) -> Result<Vec<Parsed>, Failure> {
    let mut fields = Fields::default();
    if !(1..=COMMANDS_MAX).contains(&request.commands.len()) {
        fields.wrong("commands", format_args!("must be 1 to {COMMANDS_MAX} commands"));
    }
    fields.finish(|| {
        Some(request.commands.into_iter().map(|command| one(command, defaults)).collect())
    })
}

/// Commands that were meant for another ledger are not carried out. `own`: this ledger's id, once the database has said
/// it; each connection is then checked to lead to that ledger.
pub(super) fn check_ledger(meant: &str, own: Option<&str>) -> Result<(), Status> {
    match own {
        _ if meant.is_empty() => Ok(()),
        Some(own) if own == meant => Ok(()),
        Some(own) => Err(status::ledger_mismatch(meant, own)),
        None => Err(status::of_trouble(Trouble::Unavailable)),
    }
}

fn one(command: api::Command, defaults: &Defaults) -> Parsed {
    use api::command::Command as Kind;
    match command.command {
        Some(Kind::Reserve(request)) => parse::reserve(request, defaults).map(Command::Reserve),
        Some(Kind::Capture(request)) => parse::capture(request).map(Command::Capture),
        Some(Kind::Release(request)) => parse::release(request).map(Command::Release),
        Some(Kind::Refund(request)) => parse::refund(request).map(Command::Refund),
        None => {
            let mut fields = Fields::default();
            fields.wrong("command", "must be set");
            fields.finish(|| None)
        }
    }
}

/// The audit trail is told all commands before the first is handed in: what becomes of them does not depend on whether
/// the caller stays to hear it.
pub(super) async fn carry_out(
    commands: Vec<Parsed>,
    desk: &Desk,
    origin: &Origin,
) -> Result<Vec<api::Outcome>, Status> {
    let entries: Vec<_> = commands.iter().map(|command| entry(command.as_ref())).collect();
    origin.audit.set("commands", entries);
    // Counted as one, so that a call is taken whole or not at all.
    let hold = server::hold(commands.len()).map_err(|TooMuch| status::of_trouble(Trouble::Full))?;
    let hold = hold.map(Arc::new);
    let outcomes = commands.into_iter().map(async |command| match command {
        Ok(command) => {
            let known = known_to(&command);
            let command = command.asked_by(origin.actor.clone());
            let carried_out = desk.carry_out_held(command, hold.clone()).await;
            outcome(carried_out.map(|receipt| receipt.replayed), known)
        }
        Err(wrong) => Ok(refused(wrong.reason(), wrong.message())),
    });
    let outcomes = try_join_all(outcomes).await.map_err(status::of_trouble)?;
    origin.audit.amend("commands", |entries| add(entries, &outcomes));
    Ok(outcomes)
}

fn entry(command: Result<&Command, &Failure>) -> Value {
    command.map_or_else(|_| json!({ "command": "unknown" }), trail::entry)
}

/// Adds to each command what came of it.
fn add(entries: &mut Value, outcomes: &[api::Outcome]) {
    let entries = entries.as_array_mut().into_iter().flatten();
    for (entry, outcome) in entries.zip(outcomes) {
        entry["outcome"] = match &outcome.refusal {
            Some(refusal) => refusal.reason.as_str().into(),
            None if outcome.replayed => "replayed".into(),
            None => "done".into(),
        };
    }
}

/// Which reason a caller is told in place of another. A Reserve without a currency may come from an order service of the
/// version before: a reason that it does not know is no answer to it, and it would ask again until it gives up.
fn known_to(command: &Command) -> fn(Reason) -> Reason {
    let before = matches!(command, Command::Reserve(reserve) if reserve.currency.is_none());
    if before { known_before } else { |reason| reason }
}

/// The reason of the version before, with the same code.
fn known_before(reason: Reason) -> Reason {
    if reason == Reason::AmountPrecision {
        Reason::InvalidRequest
    } else if reason == Reason::CurrencyMismatch {
        Reason::ReservationDeclined
    } else {
        reason
    }
}

fn outcome(
    answer: Result<bool, CommandError>,
    known: fn(Reason) -> Reason,
) -> Result<api::Outcome, Trouble> {
    match answer {
        Ok(replayed) => Ok(api::Outcome { refusal: None, replayed }),
        Err(CommandError::Refused(refusal)) => {
            let why = status::why(refusal);
            Ok(refused(known(why.reason()), why.message()))
        }
        Err(CommandError::Trouble(Trouble::Failed)) => {
            let failed = status::failure(Trouble::Failed);
            Ok(refused(failed.reason(), failed.message()))
        }
        Err(CommandError::Trouble(
            passing @ (Trouble::Full | Trouble::Unavailable | Trouble::OutcomeUnknown),
        )) => Err(passing),
    }
}

fn refused(reason: Reason, message: &str) -> api::Outcome {
    let refusal = api::Refusal {
        code: reason.code().into(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
    };
    api::Outcome { refusal: Some(refusal), replayed: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_stands_for_another_has_its_code() {
        for reason in Reason::ALL {
            assert_eq!(known_before(*reason).code(), reason.code(), "{reason}");
        }
    }
}
