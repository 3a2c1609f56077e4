//! One account's books, fed row by row. Pure.

use proto::Money;

use super::{Breach, Report, Totals, report::plain};
use crate::ledger::{Account, Decline, Deposit, Entry, EntryKind, Refund, Reservation, State};

/// What has been seen of an account so far.
#[derive(Debug)]
pub(super) struct AccountBooks {
    account: Account,
    sums: Totals,
    /// The rows of the table `refunds`; `sums.refunded` is what reservations say.
    refund_rows: i128,
    statement: Statement,
    breaches: Vec<Breach>,
}

/// The statement, replayed so far.
#[derive(Debug, Default)]
struct Statement {
    lines: i64,
    balance: i128,
    opened: i128,
    deposited: i128,
    captured: i128,
    refunded: i128,
}

impl AccountBooks {
    pub(super) fn of(account: Account) -> Self {
        let sums = Totals {
            opened: units(account.opening_balance),
            balance: units(account.balance),
            ..Totals::default()
        };
        let statement = Statement::default();
        Self { account, sums, refund_rows: 0, statement, breaches: Vec::new() }
    }

    pub(super) fn deposit(&mut self, row: &Deposit) {
        self.sums.deposited += units(row.amount);
    }

    pub(super) fn refund(&mut self, row: &Refund) {
        self.refund_rows += units(row.amount);
    }

    pub(super) fn reservation(&mut self, row: &Reservation) {
        self.sums.captured += units(row.captured);
        self.sums.refunded += units(row.refunded);
        if row.state == State::Held {
            self.sums.held += units(row.amount);
        }
        let named = || Some(format!("reservation {}", row.reserve_id));
        let untouched = row.captured.is_zero() && row.refunded.is_zero();
        match row.state {
            State::Declined(_) if !untouched => {
                self.breach("I11", named(), "it was declined, and yet money moved".into());
            }
            State::Held | State::Released | State::Expired if !untouched => {
                self.breach("I1", named(), "money moved, and yet it is not captured".into());
            }
            State::Captured if row.captured.is_zero() || row.captured > row.amount => {
                let problem = format!("captured {} of {}", row.captured, row.amount);
                self.breach("I1", named(), problem);
            }
            State::Captured if row.refunded > row.captured => {
                let problem = format!("refunded {} of {} captured", row.refunded, row.captured);
                self.breach("I1", named(), problem);
            }
            State::Held
            | State::Captured
            | State::Released
            | State::Expired
            | State::Declined(_) => {}
        }
    }

    /// Takes the next line, oldest first.
    pub(super) fn entry(&mut self, row: &Entry) {
        let amount = units(row.amount);
        let statement = &mut self.statement;
        let expected = statement.lines + 1;
        statement.lines = row.sequence;
        statement.balance += if row.kind.adds() { amount } else { -amount };
        *match row.kind {
            EntryKind::Opening => &mut statement.opened,
            EntryKind::Deposit => &mut statement.deposited,
            EntryKind::Capture => &mut statement.captured,
            EntryKind::Refund => &mut statement.refunded,
        } += amount;
        let balance = statement.balance;
        let named = || Some(format!("entry {}", row.sequence));
        if row.sequence != expected {
            self.breach("I10", named(), format!("it should have number {expected}"));
        }
        if units(row.balance) != balance {
            let problem = format!("says {} and replays to {}", row.balance, plain(balance));
            self.breach("I10", named(), problem);
        }
    }

    /// Ends the account: its sums and everything that is wrong with it go into the report.
    pub(super) fn finish(mut self, report: &mut Report) {
        let Account { balance, reserved, entries, .. } = self.account;
        let sums = self.sums;
        self.equal("I1", "balance", units(balance), sums.expected_balance());
        self.equal("I1", "refunds", self.refund_rows, sums.refunded);
        self.equal("I2", "reserved", units(reserved), sums.held);
        if reserved > balance {
            self.breach("I2", None, format!("{reserved} is reserved of a balance of {balance}"));
        }
        let Statement { lines, balance: replayed, opened, deposited, captured, refunded } =
            self.statement;
        if lines != entries {
            self.breach("I10", None, format!("{entries} lines are counted, the last is {lines}"));
        }
        self.equal("I10", "balance", units(balance), replayed);
        self.equal("I10", "opening balance", sums.opened, opened);
        self.equal("I10", "deposits", sums.deposited, deposited);
        self.equal("I10", "captures", sums.captured, captured);
        self.equal("I10", "refunds", sums.refunded, refunded);
        report.currencies.entry(self.account.currency.code()).or_default().add(&sums);
        self.breaches.into_iter().for_each(|breach| report.breach(breach));
    }

    fn equal(&mut self, invariant: &'static str, what: &str, found: i128, expected: i128) {
        if found != expected {
            let (found, expected) = (plain(found), plain(expected));
            self.breach(invariant, None, format!("{what} is {found} and should be {expected}"));
        }
    }

    fn breach(&mut self, invariant: &'static str, row: Option<String>, problem: String) {
        let account_id = self.account.account_id.get();
        self.breaches.push(Breach { invariant, account_id, row, problem });
    }
}

/// Whether a reservation may stand on an account that was never opened: declines for that reason and tombstones may.
pub(super) fn needs_no_account(row: &Reservation) -> bool {
    match row.state {
        State::Declined(Decline::AccountNotFound) => true,
        State::Released => row.order_id.is_none(),
        State::Held
        | State::Captured
        | State::Expired
        | State::Declined(
            Decline::InsufficientFunds | Decline::CurrencyMismatch | Decline::AmountPrecision,
        ) => false,
    }
}

fn units(money: Money) -> i128 {
    money.units().into()
}
