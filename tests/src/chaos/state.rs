//! What stands in both databases once everything is at rest.

use std::collections::BTreeMap;

/// Both books, as far as the checker looks at them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Orders; more than one a key is a breach, so the key does not name them.
    pub orders: Vec<Order>,
    /// Payments by order: their ids.
    pub payments: BTreeMap<String, String>,
    /// Undecided keys, by account and key.
    pub undecided: Vec<(i64, String)>,
    /// Outbox rows, by account, order and action.
    pub waiting: Vec<(i64, String, String)>,
    /// Reservations by account and id.
    pub reservations: BTreeMap<(i64, String), Reservation>,
    /// Deposits by account and id, in units of 10^-4.
    pub deposits: BTreeMap<(i64, String), i64>,
    /// Refunds by account, reservation and id, in units of 10^-4.
    pub refunds: BTreeMap<(i64, String, String), i64>,
    /// Accounts.
    pub accounts: BTreeMap<i64, Account>,
    /// Pieces in stock, by product.
    pub stock: BTreeMap<i64, i64>,
    /// Refused keys whose lifetime ended during the run, by account and key: from when to when that may have been, in
    /// microseconds since the run began. Nothing in the databases tells of them any more.
    pub forgotten: BTreeMap<(i64, String), Vec<(u64, u64)>>,
    /// When the database of orders was copied and when that copy was put back, in microseconds since the run began: what
    /// it was told in between is lost, unless it was told again.
    pub restored: Option<(u64, u64)>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whose.
    pub account: i64,
    /// Its key.
    pub key: String,
    /// Its id.
    pub order_id: String,
    /// What it costs, in units of 10^-4.
    pub units: i64,
    /// Whether it was cancelled.
    pub cancelled: bool,
}

/// A reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// HELD and so on.
    pub state: String,
    /// What was reserved, in units of 10^-4.
    pub units: i64,
}

/// An account, in units of 10^-4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// All it has.
    pub balance: i64,
    /// What of it is held.
    pub reserved: i64,
}

/// What the run began with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Balances, in units of 10^-4.
    pub balances: BTreeMap<i64, i64>,
    /// Products: price in units of 10^-4, and stock.
    pub products: BTreeMap<i64, (i64, i64)>,
}
