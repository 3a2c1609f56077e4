//! `order-service verify`: the invariants that the orders' database alone can show.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::storage::{Breach, outbox::Waiting};

/// What is checked, for people: ARCHITECTURE.md says what each one means.
const CHECKED: [&str; 5] = ["I3", "I4", "I5", "I6", "I7"];

#[derive(Serialize)]
struct Report {
    ok: bool,
    checked: [&'static str; CHECKED.len()],
    breaches: Vec<Breach>,
}

/// The breach that a row of the outbox is which waits in vain, or for too long.
pub fn stuck(row: &Waiting) -> Breach {
    let Waiting { notice, refused, attempts, created_at, .. } = row;
    let (account, order_id, action) = (notice.account, notice.order_id, notice.action.as_str());
    let why = refused.as_ref().map(|reason| format!(": refused, {reason}")).unwrap_or_default();
    let row = format!(
        "account {account} order {order_id} waits for {action} since {created_at}, told {attempts} times{why}"
    );
    Breach { invariant: "I5", row }
}

/// Prints a JSON report on one line; the exit code is 1 on any breach.
///
/// # Errors
/// When it cannot be written, as on a full disk. A reader who stopped reading has read enough.
pub fn report(breaches: Vec<Breach>) -> io::Result<ExitCode> {
    let report = Report { ok: breaches.is_empty(), checked: CHECKED, breaches };
    let json = serde_json::to_string(&report).expect("a report is plain data");
    match writeln!(io::stdout(), "{json}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    }
}
