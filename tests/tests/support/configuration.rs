//! The one way the tables of `docs/configuration.md` are made, shared by the generator and by the test that compares.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, CommandFactory};

/// Everything between these two lines of the file is generated, everything else is written by hand.
const BEGIN: &str = "<!-- generated: cargo run -p tests --example configuration -->\n";
const END: &str = "<!-- end of what is generated -->\n";

/// Flags of programs that are built for tests alone, and that nobody ships.
const TESTS_ONLY: &str = "Fail points";

/// The document.
pub(crate) fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")
}

/// The document with its tables made anew.
///
/// # Panics
/// When one of the two marks is missing.
pub(crate) fn renewed(document: &str) -> String {
    let (before, rest) = document.split_once(BEGIN).expect("the mark where the tables begin");
    let (_, after) = rest.split_once(END).expect("the mark where the tables end");
    format!("{before}{BEGIN}{}{END}{after}", tables())
}

fn tables() -> String {
    let account = account_service::args::Args::command();
    let order = order_service::args::Args::command();
    let (both, order_only) = shared(&order, &account);
    let (_, account_only) = shared(&account, &order);

    let mut text = String::new();
    section(&mut text, "Both services", &both);
    section(&mut text, "account-service", &account_only);
    section(&mut text, "order-service", &order_only);
    for command in [&account, &order] {
        subcommands(&mut text, command, command.get_name());
    }
    let verify = holdfast_verify::args::Args::command();
    section(&mut text, "holdfast-verify", &flags(&verify));
    subcommands(&mut text, &verify, verify.get_name());
    text
}

/// The flags of `command` that `other` has as well, word for word, and those that it has not.
fn shared(command: &Command, other: &Command) -> (Vec<Flag>, Vec<Flag>) {
    let others = flags(other);
    flags(command).into_iter().partition(|flag| others.contains(flag))
}

/// A flag in the words of `--help`, a field for each column.
#[derive(PartialEq, Eq)]
struct Flag {
    heading: Option<String>,
    usage: String,
    environment: String,
    default: String,
    help: String,
}

fn flags(command: &Command) -> Vec<Flag> {
    let shown = |arg: &&Arg| !arg.is_hide_set() && arg.get_help_heading() != Some(TESTS_ONLY);
    command.get_arguments().filter(shown).map(Flag::of).collect()
}

impl Flag {
    fn of(arg: &Arg) -> Self {
        let long = arg.get_long().expect("every argument is a flag with a long name");
        let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let value = arg.get_value_names().filter(|_| takes_value);
        let value = value.map(|names| format!(" {}", names.join(" "))).unwrap_or_default();
        let environment = arg.get_env().map(|name| name.to_string_lossy().into_owned());

        let defaults = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = match defaults.collect::<Vec<_>>().join(",") {
            _ if !takes_value => "off".to_owned(),
            text if text.is_empty() && arg.is_required_set() => "required".to_owned(),
            text if text.is_empty() => String::new(),
            text => code(&text),
        };

        Self {
            heading: arg.get_help_heading().map(str::to_owned),
            usage: code(&format!("--{long}{value}")),
            environment: environment.as_deref().map(code).unwrap_or_default(),
            default,
            help: arg.get_help().expect("every flag says what it is for").to_string(),
        }
    }

    fn row(&self) -> String {
        let cells = [&self.usage, &self.environment, &self.default, &self.help];
        let [usage, environment, default, help] = cells.map(|cell| cell.replace('|', "\\|"));
        format!("| {usage} | {environment} | {default} | {help} |\n")
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A section for the flags, and one below it for each heading of `--help`.
fn section(text: &mut String, title: &str, flags: &[Flag]) {
    let mut by_heading = BTreeMap::<_, Vec<_>>::new();
    for flag in flags {
        by_heading.entry(flag.heading.as_deref()).or_default().push(flag);
    }
    if by_heading.is_empty() {
        return;
    }

    write!(text, "\n## {title}\n").expect("a String takes everything");
    for (heading, flags) in by_heading {
        if let Some(heading) = heading {
            write!(text, "\n### {title}: {}\n", heading.to_lowercase()).expect("as above");
        }
        text.push_str("\n| flag | environment | default | |\n|---|---|---|---|\n");
        text.extend(flags.into_iter().map(Flag::row));
    }
}

/// A section for each subcommand, with the flags that it alone has.
fn subcommands(text: &mut String, command: &Command, path: &str) {
    for task in command.get_subcommands() {
        let path = format!("{path} {}", task.get_name());
        let about = task.get_about().map(ToString::to_string).unwrap_or_default();
        let flags = flags(task);

        write!(text, "\n## {path}\n\n{about}.\n").expect("a String takes everything");
        if !flags.is_empty() {
            text.push_str("\n| flag | environment | default | |\n|---|---|---|---|\n");
            text.extend(flags.iter().map(Flag::row));
        }
        subcommands(text, task, &path);
    }
}
