//! Storage in memory: loads what a batch names, lets the core decide, keeps what it answers, as the real one does.

use std::collections::BTreeMap;

use account_service::ledger::{
    self, Account, Book, Changes, Command, Deposit, Entry, EntryKind, Named, Outcome, Refund,
    Reservation, State,
};
use proto::{
    Money,
    id::{AccountId, DepositId, RefundId, ReserveId},
};
use time::OffsetDateTime;

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Shelf {
    pub(crate) accounts: BTreeMap<AccountId, Account>,
    pub(crate) reservations: BTreeMap<(AccountId, ReserveId), Reservation>,
    pub(crate) deposits: BTreeMap<(AccountId, DepositId), Deposit>,
    pub(crate) refunds: BTreeMap<(AccountId, ReserveId, RefundId), Refund>,
    pub(crate) entries: BTreeMap<(AccountId, i64), Entry>,
}

impl Shelf {
    /// Runs a batch as the stores do: again, with the due holds expired, before a decline for want of funds.
    pub(crate) fn run(&mut self, commands: &[Command], now: OffsetDateTime) -> Vec<Outcome> {
        let (outcomes, changes) = self.decide(commands, &Named::by(commands), now);
        self.keep(changes);
        outcomes
    }

    /// As the stores do at first: what is only to be made is not looked for, and where it is there, inserting it fails.
    pub(crate) fn run_expecting_new(
        &mut self,
        commands: &[Command],
        now: OffsetDateTime,
    ) -> Vec<Outcome> {
        let before = self.clone();
        let (outcomes, changes) = self.decide(commands, &Named::expecting_new(commands), now);
        let is_there = |row: &Reservation| {
            self.reservations.contains_key(&(row.account_id, row.reserve_id.clone()))
        };
        if changes.reservations.new.iter().any(is_there) {
            *self = before;
            return self.run(commands, now);
        }
        self.keep(changes);
        outcomes
    }

    fn decide(
        &mut self,
        commands: &[Command],
        named: &Named<'_>,
        now: OffsetDateTime,
    ) -> (Vec<Outcome>, Changes) {
        let book = self.load(named);
        let holding = book.holding();
        let (outcomes, changes) = ledger::apply(book, commands, now);
        let short = &changes.short_of_funds() & &holding;
        let expired = short.iter().map(|id| (*id, self.mark_due(*id, now)));
        let expired: Vec<_> = expired.filter(|(_, amount)| !amount.is_zero()).collect();
        if expired.is_empty() {
            return (outcomes, changes);
        }

        let mut book = self.load(named);
        for (id, amount) in expired {
            assert!(book.settle_expired(id, amount));
        }
        ledger::apply(book, commands, now)
    }

    /// Expires everything that is due, as the sweeper does.
    pub(crate) fn sweep(&mut self, now: OffsetDateTime) {
        for id in self.accounts.keys().copied().collect::<Vec<_>>() {
            let amount = self.mark_due(id, now);
            let mut book = Book::load(self.accounts.get(&id).copied(), [], [], []);
            assert!(book.settle_expired(id, amount));
            self.keep(book.into_changes());
        }
    }

    fn load(&self, named: &Named<'_>) -> Book {
        Book::load(
            named.accounts.iter().filter_map(|id| self.accounts.get(id).copied()),
            named.reservations.iter().filter_map(|(account, id)| {
                self.reservations.get(&(*account, (*id).clone())).cloned()
            }),
            named
                .deposits
                .iter()
                .filter_map(|(account, id)| self.deposits.get(&(*account, (*id).clone())).cloned()),
            named.refunds.iter().filter_map(|(account, reserve, id)| {
                self.refunds.get(&(*account, (*reserve).clone(), (*id).clone())).cloned()
            }),
        )
    }

    fn mark_due(&mut self, account: AccountId, now: OffsetDateTime) -> Money {
        let due = self.reservations.values_mut();
        let due = due.filter(|row| row.account_id == account && row.is_due(now));
        due.fold(Money::ZERO, |sum, row| {
            row.state = State::Expired;
            sum.checked_add(row.amount).unwrap()
        })
    }

    fn keep(&mut self, changes: Changes) {
        for row in changes.accounts.new {
            assert!(self.accounts.insert(row.account_id, row).is_none(), "{row:?} is not new");
        }
        for row in changes.accounts.changed {
            assert!(self.accounts.insert(row.account_id, row).is_some(), "{row:?} is new");
        }
        for row in changes.reservations.new {
            let key = (row.account_id, row.reserve_id.clone());
            assert!(self.reservations.insert(key, row).is_none(), "a reservation is not new");
        }
        for row in changes.reservations.changed {
            let key = (row.account_id, row.reserve_id.clone());
            assert!(self.reservations.insert(key, row).is_some(), "a reservation is new");
        }
        for row in changes.deposits {
            let key = (row.account_id, row.deposit_id.clone());
            assert!(self.deposits.insert(key, row).is_none(), "a deposit is not new");
        }
        for row in changes.refunds {
            let key = (row.account_id, row.reserve_id.clone(), row.refund_id.clone());
            assert!(self.refunds.insert(key, row).is_none(), "a refund is not new");
        }
        for row in changes.entries {
            let key = (row.account_id, row.sequence);
            assert!(self.entries.insert(key, row).is_none(), "a line is not new");
        }
    }

    /// Asserts what must hold of the rows at rest: I1, I2 and I10.
    pub(crate) fn check(&self) {
        for account in self.accounts.values() {
            let id = account.account_id;
            let units = |money: Money| i128::from(money.units());
            let reservations = || self.reservations.values().filter(|row| row.account_id == id);
            let deposits = self.deposits.values().filter(|row| row.account_id == id);
            let deposited: i128 = deposits.map(|row| units(row.amount)).sum();
            let captured: i128 = reservations().map(|row| units(row.captured)).sum();
            let refunded: i128 = reservations().map(|row| units(row.refunded)).sum();
            let balance = units(account.opening_balance) + deposited - captured + refunded;
            assert_eq!(units(account.balance), balance, "I1 of {id}");
            let held = reservations().filter(|row| row.state == State::Held);
            let held: i128 = held.map(|row| units(row.amount)).sum();
            assert_eq!(units(account.reserved), held, "I2 of {id}");
            assert!(account.reserved <= account.balance, "I2 of {id}");
            self.check_statement(account);
        }
        for row in self.reservations.values() {
            let refunds = self.refunds.values().filter(|refund| {
                (refund.account_id, &refund.reserve_id) == (row.account_id, &row.reserve_id)
            });
            let refunded: i64 = refunds.map(|refund| refund.amount.units()).sum();
            assert_eq!(row.refunded.units(), refunded);
            assert!(row.refunded <= row.captured && row.captured <= row.amount, "{row:?}");
            assert_eq!(row.state == State::Captured, !row.captured.is_zero(), "{row:?}");
        }
    }

    fn check_statement(&self, account: &Account) {
        let lines = self.entries.values().filter(|line| line.account_id == account.account_id);
        let mut balance = 0;
        let mut last = 0;
        for line in lines {
            assert_eq!(line.sequence, last + 1, "I10: a gap before {line:?}");
            last = line.sequence;
            balance += if line.kind.adds() { line.amount.units() } else { -line.amount.units() };
            assert_eq!(line.balance.units(), balance, "I10: {line:?}");
            assert_eq!(line.kind == EntryKind::Opening, line.reference.is_empty(), "{line:?}");
        }
        assert_eq!((account.entries, account.balance.units()), (last, balance), "I10");
    }
}
