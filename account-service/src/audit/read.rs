//! The whole ledger, accounts in chunks and everything else in step with them.

use std::collections::BTreeMap;

use proto::id::AccountId;

use super::{
    Breach, Report,
    account::{AccountBooks, needs_no_account},
};
use crate::{
    ledger::{Deposit, Entry, Refund, Reservation},
    storage::{Range, Tables},
};

/// Accounts that are in memory at once.
const CHUNK: u32 = 500;

/// The accounts of one chunk, and the report that they will go into.
struct Chunk<'a> {
    books: BTreeMap<AccountId, AccountBooks>,
    report: &'a mut Report,
}

pub(super) async fn ledger<B: Tables>(connection: &mut B::Connection) -> sqlx::Result<Report> {
    let mut report = Report::default();
    let mut after = 0;
    loop {
        let accounts = B::accounts_after(connection, after, CHUNK).await?;
        report.accounts += accounts.len() as u64;
        // Rows of accounts that do not exist lie between the others, or behind the last.
        let last = accounts.last().map_or(i64::MAX, |account| account.account_id.get());
        let books = accounts.into_iter().map(|row| (row.account_id, AccountBooks::of(row)));
        let mut chunk = Chunk { books: books.collect(), report: &mut report };
        chunk.read::<B>(connection, Range { after, last }).await?;
        for books in chunk.books.into_values() {
            books.finish(&mut report);
        }
        if last == i64::MAX {
            return Ok(report.finish());
        }
        after = last;
    }
}

impl Chunk<'_> {
    async fn read<B: Tables>(
        &mut self,
        connection: &mut B::Connection,
        range: Range,
    ) -> sqlx::Result<()> {
        B::each_deposit(connection, range, |row| self.deposit(&row)).await?;
        B::each_reservation(connection, range, |row| self.reservation(&row)).await?;
        B::each_refund(connection, range, |row| self.refund(&row)).await?;
        B::each_entry(connection, range, |row| self.entry(&row)).await
    }

    fn deposit(&mut self, row: &Deposit) {
        match self.books.get_mut(&row.account_id) {
            Some(books) => books.deposit(row),
            None => self.orphan("I1", row.account_id, format!("deposit {}", row.deposit_id)),
        }
    }

    fn reservation(&mut self, row: &Reservation) {
        self.report.reservations += 1;
        match self.books.get_mut(&row.account_id) {
            Some(books) => books.reservation(row),
            None if needs_no_account(row) => {}
            None => self.orphan("I1", row.account_id, format!("reservation {}", row.reserve_id)),
        }
    }

    fn refund(&mut self, row: &Refund) {
        match self.books.get_mut(&row.account_id) {
            Some(books) => books.refund(row),
            None => self.orphan("I1", row.account_id, format!("refund {}", row.refund_id)),
        }
    }

    fn entry(&mut self, row: &Entry) {
        self.report.entries += 1;
        match self.books.get_mut(&row.account_id) {
            Some(books) => books.entry(row),
            None => self.orphan("I10", row.account_id, format!("entry {}", row.sequence)),
        }
    }

    fn orphan(&mut self, invariant: &'static str, account: AccountId, row: String) {
        let problem = "the account does not exist".into();
        let account_id = account.get();
        self.report.breach(Breach { invariant, account_id, row: Some(row), problem });
    }
}
