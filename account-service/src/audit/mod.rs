//! `account-service verify`: whether the books are right, read off the database in one snapshot.
//!
//! What one side can tell (the numbers are the design's invariants):
//!
//! - I1 opening + deposits − captured + refunded = balance, for each account and so for each currency
//! - I2 reserved = the sum of the held reservations, and never more than the balance
//! - I10 the statement is numbered without gaps, replays to the balance, and its lines of each kind add up to the rows
//!   that caused them
//! - I11 what was declined has neither captured nor refunded anything
//!
//! I8 and I9 need to know what callers were told and who held which fence; they are checked where that is known.
//!
//! Accounts are read a few hundred at a time and every other table in step with them, row by row, so memory stays small
//! whatever the size of the books. Running services may go on: the snapshot does not see them.

mod account;
mod read;
mod report;

pub use report::{Breach, Report, Totals};

use std::time::Duration;

use database::{Session, StoreError, Transaction};

use crate::storage::Tables;

/// How long an audit may take at most.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Reads the whole ledger and reports what is wrong with it.
///
/// # Errors
/// When the database cannot be read to the end.
pub async fn audit<B: Tables>(options: B::Options) -> Result<Report, StoreError> {
    let mut session = Session::<B>::new(options).patient(TIME_MAX);
    session.read(&mut Audit).await
}

struct Audit;

impl<B: Tables> Transaction<B> for Audit {
    const NAME: &'static str = "audit";
    type Output = Report;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Report> {
        B::execute(connection, B::BEGIN_SNAPSHOT).await?;
        let report = read::ledger::<B>(connection).await;
        B::execute(connection, "ROLLBACK").await?;
        report
    }
}
