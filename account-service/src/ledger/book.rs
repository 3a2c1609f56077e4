//! The rows that a batch works on, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use proto::{
    Money,
    id::{AccountId, DepositId, RefundId, ReserveId},
};

use super::{Account, Decline, Deposit, Entry, Refund, Reservation, State};

/// The rows of one batch: loaded by storage, changed by [`super::apply`].
///
/// Maps are ordered, so that changes come out in key order whatever the order of the commands, and two transactions
/// that write the same keys write them in the same order.
#[derive(Debug, Default)]
pub struct Book {
    accounts: BTreeMap<AccountId, Row<Account>>,
    reservations: BTreeMap<(AccountId, ReserveId), Row<Reservation>>,
    deposits: BTreeMap<(AccountId, DepositId), Row<Deposit>>,
    refunds: BTreeMap<(AccountId, ReserveId, RefundId), Row<Refund>>,
    entries: Vec<Entry>,
}

/// What must be written so that the outcomes hold, in key order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Accounts, new and changed.
    pub accounts: Written<Account>,
    /// Reservations, new and changed.
    pub reservations: Written<Reservation>,
    /// New deposits.
    pub deposits: Vec<Deposit>,
    /// New refunds.
    pub refunds: Vec<Refund>,
    /// New lines of statements.
    pub entries: Vec<Entry>,
}

/// Rows of one table to write. A row that is new and then changed within the batch is new, as it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// To insert.
    pub new: Vec<T>,
    /// To update.
    pub changed: Vec<T>,
}

#[derive(Debug)]
struct Row<T> {
    value: T,
    write: Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Nothing,
    Insert,
    Update,
}

impl Book {
    /// A book with the stored rows of a batch.
    pub fn load(
        accounts: impl IntoIterator<Item = Account>,
        reservations: impl IntoIterator<Item = Reservation>,
        deposits: impl IntoIterator<Item = Deposit>,
        refunds: impl IntoIterator<Item = Refund>,
    ) -> Self {
        Self {
            accounts: stored(accounts, |row| row.account_id),
            reservations: stored(reservations, reservation_key),
            deposits: stored(deposits, deposit_key),
            refunds: stored(refunds, refund_key),
            entries: Vec::new(),
        }
    }

    /// The accounts that have holds: only they can have any that is due.
    pub fn holding(&self) -> BTreeSet<AccountId> {
        let holding = self.accounts.values().filter(|row| !row.value.reserved.is_zero());
        holding.map(|row| row.value.account_id).collect()
    }

    /// Takes what storage has just marked as expired off an account's reserved amount.
    ///
    /// False when the account is not in the book or holds less: its rows are damaged, and it is left as it is.
    #[must_use]
    pub fn settle_expired(&mut self, account: AccountId, expired: Money) -> bool {
        let settled = self.account(account).and_then(|account| account.unhold(expired));
        settled.map(|account| self.put_account(account)).is_some()
    }

    /// Ends the book without a command.
    pub fn into_changes(self) -> Changes {
        Changes {
            accounts: Written::of(self.accounts),
            reservations: Written::of(self.reservations),
            deposits: Written::of(self.deposits).new,
            refunds: Written::of(self.refunds).new,
            entries: self.entries,
        }
    }

    pub(super) fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.get(&id).map(|row| row.value)
    }

    pub(super) fn reservation(&self, id: AccountId, reserve: &ReserveId) -> Option<&Reservation> {
        self.reservations.get(&(id, reserve.clone())).map(|row| &row.value)
    }

    pub(super) fn deposit(&self, id: AccountId, deposit: &DepositId) -> Option<&Deposit> {
        self.deposits.get(&(id, deposit.clone())).map(|row| &row.value)
    }

    pub(super) fn refund(
        &self,
        id: AccountId,
        reserve: &ReserveId,
        refund: &RefundId,
    ) -> Option<&Refund> {
        self.refunds.get(&(id, reserve.clone(), refund.clone())).map(|row| &row.value)
    }

    pub(super) fn put_account(&mut self, account: Account) {
        put(&mut self.accounts, account.account_id, account);
    }

    pub(super) fn put_reservation(&mut self, reservation: Reservation) {
        put(&mut self.reservations, reservation_key(&reservation), reservation);
    }

    pub(super) fn put_deposit(&mut self, deposit: Deposit) {
        put(&mut self.deposits, deposit_key(&deposit), deposit);
    }

    pub(super) fn put_refund(&mut self, refund: Refund) {
        put(&mut self.refunds, refund_key(&refund), refund);
    }

    pub(super) fn put_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }
}

impl Changes {
    /// Accounts that these changes decline a reservation on because of what is available. Before that is stored for ever,
    /// storage expires the holds of these accounts whose time has come, and decides again.
    pub fn short_of_funds(&self) -> BTreeSet<AccountId> {
        let short = [Decline::InsufficientFunds, Decline::AmountPrecision].map(State::Declined);
        let declined = self.reservations.new.iter().filter(|row| short.contains(&row.state));
        declined.map(|row| row.account_id).collect()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<T> Written<T> {
    fn of<K>(rows: BTreeMap<K, Row<T>>) -> Self {
        let mut written = Self::default();
        for row in rows.into_values() {
            match row.write {
                Write::Nothing => {}
                Write::Insert => written.new.push(row.value),
                Write::Update => written.changed.push(row.value),
            }
        }
        written
    }
}

impl<T> Default for Written<T> {
    fn default() -> Self {
        Self { new: Vec::new(), changed: Vec::new() }
    }
}

fn stored<K: Ord, T>(
    rows: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> BTreeMap<K, Row<T>> {
    rows.into_iter().map(|value| (key(&value), Row { value, write: Write::Nothing })).collect()
}

fn put<K: Ord, T>(rows: &mut BTreeMap<K, Row<T>>, key: K, value: T) {
    let write = match rows.get(&key).map(|row| row.write) {
        None | Some(Write::Insert) => Write::Insert,
        Some(Write::Nothing | Write::Update) => Write::Update,
    };
    rows.insert(key, Row { value, write });
}

fn reservation_key(row: &Reservation) -> (AccountId, ReserveId) {
    (row.account_id, row.reserve_id.clone())
}

fn deposit_key(row: &Deposit) -> (AccountId, DepositId) {
    (row.account_id, row.deposit_id.clone())
}

fn refund_key(row: &Refund) -> (AccountId, ReserveId, RefundId) {
    (row.account_id, row.reserve_id.clone(), row.refund_id.clone())
}
