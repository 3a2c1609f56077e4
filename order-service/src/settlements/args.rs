//! The flags of `order-service settlements`.

use clap::{Args, Subcommand};
use proto::id::AccountId;
use server::Problems;
use uuid::Uuid;

use super::Command;
use crate::order::Action;

/// The longest note, in characters.
const NOTE_MAX: usize = 1_000;

/// What to do with the settlements that wait, as text.
#[derive(Debug, Args)]
pub struct SettlementsArgs {
    #[command(subcommand)]
    command: CommandArgs,
}

#[derive(Debug, Subcommand)]
enum CommandArgs {
    /// Print every settlement that waits, one JSON object per line
    List,
    /// Tell the settlements of an order to the account service now
    Retry {
        #[command(flatten)]
        order: OrderArgs,
    },
    /// Give up a settlement that the account service refuses, after its money was put right by hand
    Resolve {
        #[command(flatten)]
        order: OrderArgs,
        /// CAPTURE, RELEASE or REFUND, as `list` prints it
        #[arg(long, value_name = "ACTION")]
        action: String,
        /// What was done instead, kept with the row
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
}

#[derive(Debug, Args)]
struct OrderArgs {
    /// The account that pays
    #[arg(long, value_name = "N")]
    account: String,
    /// The order's id
    #[arg(long, value_name = "UUID")]
    order: String,
}

impl SettlementsArgs {
    /// Judges every value. `None`: one is a problem.
    pub fn validate(self, problems: &mut Problems) -> Option<Command> {
        match self.command {
            CommandArgs::List => Some(Command::List),
            CommandArgs::Retry { order } => {
                let (account, order_id) = order.validate(problems);
                Some(Command::Retry { account: account?, order_id: order_id? })
            }
            CommandArgs::Resolve { order, action, note } => {
                let (account, order_id) = order.validate(problems);
                let action = problems.parse("--action", &action, self::action);
                let note = problems.parse("--note", &note, self::note);
                let (account, order_id, action) = (account?, order_id?, action?);
                Some(Command::Resolve { account, order_id, action, note: note? })
            }
        }
    }
}

impl OrderArgs {
    fn validate(self, problems: &mut Problems) -> (Option<AccountId>, Option<Uuid>) {
        let account = problems.parse("--account", &self.account, account);
        let order_id = problems
            .parse("--order", &self.order, |raw| Uuid::try_parse(raw).map_err(|_| "is not a UUID"));
        (account, order_id)
    }
}

fn account(raw: &str) -> Result<AccountId, &'static str> {
    let id = raw.parse().ok().and_then(|number| AccountId::new(number).ok());
    id.ok_or("is not an account_id: a whole number greater than zero")
}

fn action(raw: &str) -> Result<Action, &'static str> {
    let action = Action::ALL.into_iter().find(|action| action.as_str() == raw);
    action.ok_or("is not CAPTURE, RELEASE or REFUND")
}

fn note(raw: &str) -> Result<String, String> {
    let note = raw.trim();
    let fits = (1..=NOTE_MAX).contains(&note.chars().count());
    if fits && !note.contains(char::is_control) {
        Ok(note.to_owned())
    } else {
        Err(format!("is not a note of 1 to {NOTE_MAX} characters on one line"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Args, Task};

    fn asked(arguments: &[&str]) -> Result<Option<Task>, String> {
        let program = ["order-service", "settlements"];
        let args = Args::try_parse_from(program.iter().chain(arguments));
        let config = args.map_err(|error| error.to_string())?.validate();
        config.map(|config| config.task).map_err(|problems| problems.to_string())
    }

    #[test]
    fn every_wrong_value_is_named_at_once() {
        let wrong = "resolve --account 0 --order 7 --action capture --note";
        let wrong: Vec<_> = wrong.split(' ').chain([" \n"]).collect();
        let told = asked(&wrong).unwrap_err();
        for flag in ["--account", "--order", "--action", "--note"] {
            assert!(told.contains(&format!("{flag} (")), "{flag}: {told}");
        }
    }

    #[test]
    fn a_settlement_is_named_by_account_order_and_action() {
        let order = "01a21be1-092c-7761-9053-7ac4d3442a90";
        let named = ["resolve", "--account", "7", "--order", order, "--action", "REFUND"];
        let note = ["--note", " paid by invoice "];
        let Some(Task::Settlements(command)) = asked(&[&named[..], &note[..]].concat()).unwrap()
        else {
            panic!("another task")
        };
        let super::Command::Resolve { account, order_id, action, note } = command else {
            panic!("another command: {command:?}")
        };
        let action = action.as_str();
        assert_eq!((account.get(), order_id.to_string(), action), (7, order.into(), "REFUND"));
        assert_eq!(note, "paid by invoice");
        assert!(asked(&named).is_err(), "a note is needed");
    }
}
