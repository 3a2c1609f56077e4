//! The transactions of [`super::Store`]: load, decide, write.

use std::collections::{BTreeMap, BTreeSet};

use database::{
    Position, Transaction,
    lineage::partners::{Remember, Remembered},
};
use failpoint::{Point, Safeguard, is_off, reach};
use proto::id::{AccountId, ReserveId};

use super::{Introduced, Page, Tables, tables::ExpiredHolds};
use crate::ledger::{
    self, Account, Book, Changes, Command, Entry, Named, Outcome, Reservation, State,
};

pub(super) struct Apply<'a> {
    pub(super) commands: &'a [Command],
    /// Reservations that are to be made are not looked for in the first run.
    pub(super) expects_new: bool,
    /// How often it was run.
    pub(super) runs: u32,
}

pub(super) struct Expire {
    pub(super) limit: u32,
}

pub(super) struct Accounts<'a> {
    pub(super) ids: &'a BTreeSet<AccountId>,
}

pub(super) struct Reservations<'a> {
    pub(super) keys: &'a BTreeSet<(AccountId, ReserveId)>,
}

pub(super) struct Entries<'a> {
    pub(super) pages: &'a [Page],
}

/// Introduces the ledger to the database of a caller.
pub(super) struct Introduce<'a> {
    pub(super) caller: &'a Position,
}

impl<B: Tables> Transaction<B> for Apply<'_> {
    const NAME: &'static str = "apply";
    type Output = Vec<Outcome>;

    /// Five round trips for any number of Reserves, BEGIN and COMMIT included.
    ///
    /// A reservation that is to be made was hardly ever made before, so it is not looked for. Where it was, inserting it
    /// fails its unique key; the session rolls back and runs the batch again, and then all rows are looked up. That nothing
    /// is decided on a row that was not seen rests on this: every Reserve that finds no reservation writes one.
    ///
    /// A hold that is due but not yet swept still counts into what an account has reserved. That matters only when a
    /// Reserve is about to be declined on an account that has holds, so only then are due ones looked for: they are expired
    /// here and now, and the batch is decided again from the start. The usual path pays nothing for it.
    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Vec<Outcome>> {
        let expects_new = self.expects_new && self.runs == 0;
        self.runs += 1;
        let named = match expects_new {
            true => Named::expecting_new(self.commands),
            false => Named::by(self.commands),
        };

        let (book, now) = B::load(connection, &named).await?;
        reach(Point::AccountLoaded);
        let holding = book.holding();
        let (mut outcomes, mut changes) = ledger::apply(book, self.commands, now);

        let short: BTreeSet<_> = &changes.short_of_funds() & &holding;
        if !short.is_empty() {
            let expired = B::expire_holds(connection, &short, now, None).await?;
            if !expired.is_empty() {
                let (mut book, _) = B::load(connection, &named).await?;
                settle(&mut book, &expired);
                (outcomes, changes) = ledger::apply(book, self.commands, now);
            }
        }
        forget(&mut changes);
        write::<B>(connection, &changes).await?;
        reach(Point::AccountWritten);
        Ok(outcomes)
    }
}

impl<B: Tables> Transaction<B> for Expire {
    const NAME: &'static str = "expire";
    type Output = u64;
    // A hold whose expiry was lost expires again.
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<u64> {
        let (accounts, now) = B::lock_due(connection, self.limit).await?;
        if accounts.is_empty() {
            return Ok(0);
        }
        let ids = accounts.iter().map(|account| account.account_id).collect();
        let expired = B::expire_holds(connection, &ids, now, Some(self.limit)).await?;
        let mut book = Book::load(accounts, [], [], []);
        settle(&mut book, &expired);
        write::<B>(connection, &book.into_changes()).await?;
        Ok(expired.iter().map(|account| account.holds).sum())
    }
}

impl<B: Tables> Transaction<B> for Accounts<'_> {
    const NAME: &'static str = "accounts";
    type Output = BTreeMap<AccountId, Account>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let rows = B::accounts(connection, self.ids).await?;
        let as_they_stand = rows.into_iter().map(|(account, due)| {
            // Damaged rows are shown as they are; `verify` names them.
            (account.account_id, account.unhold(due).unwrap_or(account))
        });
        Ok(as_they_stand.collect())
    }
}

impl<B: Tables> Transaction<B> for Reservations<'_> {
    const NAME: &'static str = "reservations";
    type Output = BTreeMap<(AccountId, ReserveId), Reservation>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let (rows, now) = B::reservations(connection, self.keys).await?;
        let keyed = rows.into_iter().map(|row| ((row.account_id, row.reserve_id.clone()), row));
        Ok(keyed.map(|(key, row)| (key, row.seen_at(now))).collect())
    }
}

impl<B: Tables> Transaction<B> for Entries<'_> {
    const NAME: &'static str = "entries";
    type Output = Vec<Option<Vec<Entry>>>;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Self::Output> {
        let ids = self.pages.iter().map(|page| page.account_id).collect();
        let accounts = B::accounts(connection, &ids).await?;
        let known: BTreeSet<_> = accounts.iter().map(|(account, _)| account.account_id).collect();
        let mut answers = Vec::with_capacity(self.pages.len());
        for page in self.pages {
            let lines = match known.contains(&page.account_id) {
                true => Some(B::page(connection, page).await?),
                false => None,
            };
            answers.push(lines);
        }
        Ok(answers)
    }
}

impl<B: Tables> Transaction<B> for Introduce<'_> {
    const NAME: &'static str = "introduce";
    type Output = Introduced;
    const IS_COUNTED: bool = false;

    async fn run(&mut self, connection: &mut B::Connection) -> sqlx::Result<Introduced> {
        let mut remember = Remember { partner: self.caller };
        let Remembered { partner, own } = Transaction::<B>::run(&mut remember, connection).await?;

        // Nothing is known of a caller beyond the bound, so that it cannot be behind.
        let caller_highest = partner.unwrap_or_else(|| self.caller.clone());
        Ok(Introduced { ledger: own, caller_highest, now: B::now(connection).await? })
    }
}

/// Takes out what the ledger wants remembered and a process without the safeguard does not.
fn forget(changes: &mut Changes) {
    let reservations = &mut changes.reservations.new;
    if is_off(Safeguard::Tombstone) {
        reservations.retain(|row| row.order_id.is_some());
    }
    if is_off(Safeguard::DeclineMemory) {
        reservations.retain(|row| !matches!(row.state, State::Declined(_)));
    }
}

fn settle(book: &mut Book, expired: &[ExpiredHolds]) {
    for ExpiredHolds { account_id, amount, .. } in expired {
        if !book.settle_expired(*account_id, *amount) {
            tracing::error!(
                account.id = account_id.get(),
                "expired holds exceed what the account has reserved; run verify"
            );
        }
    }
}

async fn write<B: Tables>(connection: &mut B::Connection, changes: &Changes) -> sqlx::Result<()> {
    if changes.is_empty() { Ok(()) } else { B::write(connection, changes).await }
}
