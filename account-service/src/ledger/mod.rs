//! The ledger: what every command does to accounts and reservations, and nothing else.
//!
//! Pure. No database, no network, no clock, no randomness: storage loads the rows that a batch names ([`Named`]) into
//! a [`Book`], [`apply`] decides, storage writes the [`Changes`] back in one transaction and hands out the outcomes.
//!
//! Promised, for every batch (the property tests in `tests/ledger.rs` hold it against a naive model):
//!
//! - A batch does exactly what its commands would do one after the other, duplicates inside it included.
//! - A command that is refused moves no money. It leaves one thing behind at most: a *declined* Reserve is stored, so
//!   that its reserve_id never gets another answer, and a hold found past its end is marked expired.
//! - `available` is never negative, `reserved` is the sum of the held amounts, and each change of a balance has one
//!   line in the statement, numbered without gaps, with the balance after it.
//! - No amount is finer than its account's currency, so that no balance ever is. What a version before let in with more
//!   decimal places can be captured, released, refunded and reserved as a whole.
//! - A hold whose time has come counts as expired in every decision, swept or not.
//!
//! Bounds: work and memory grow with the batch alone.

mod account;
mod book;
mod command;
mod funds;
mod holds;
mod outcome;
mod reservation;

pub use account::{Account, Deposit, Entry, EntryKind, Refund};
pub use book::{Book, Changes, Written};
pub use command::{
    Capture, Command, Named, OpenAccount, PostDeposit, PostRefund, Release, Reserve,
};
pub use outcome::{Outcome, Receipt, Refusal};
pub use reservation::{Decline, Reservation, State};

use time::OffsetDateTime;

/// Runs the commands one after the other at one instant, and says what became of each and what must be written.
///
/// `book` must hold every stored row that [`Named::by`] lists for these commands: a row that is missing from it counts
/// as one that does not exist. One that [`Named::expecting_new`] leaves out may be missing where writing it once more fails.
pub fn apply(mut book: Book, commands: &[Command], now: OffsetDateTime) -> (Vec<Outcome>, Changes) {
    let outcomes = commands.iter().map(|command| decide(&mut book, command, now)).collect();
    (outcomes, book.into_changes())
}

fn decide(book: &mut Book, command: &Command, now: OffsetDateTime) -> Outcome {
    match command {
        Command::Open(open) => funds::open(book, open, now),
        Command::Deposit(deposit) => funds::deposit(book, deposit, now),
        Command::Refund(refund) => funds::refund(book, refund, now),
        Command::Reserve(reserve) => holds::reserve(book, reserve, now),
        Command::Capture(capture) => holds::capture(book, capture, now),
        Command::Release(release) => holds::release(book, release, now),
    }
}
