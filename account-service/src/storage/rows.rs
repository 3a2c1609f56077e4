//! Rows as both databases answer them, and the ledger's values that they become.

use proto::id::{AccountId, DepositId, OrderRef, RefundId, ReserveId};
use sqlx::FromRow;

use super::columns::{self, Amount, Instant, damaged};
use crate::ledger::{Account, Deposit, Entry, Refund, Reservation};

#[derive(Debug, FromRow)]
pub(super) struct AccountRow {
    pub(super) account_id: i64,
    currency: String,
    opening_balance: Amount,
    balance: Amount,
    reserved: Amount,
    entries: i64,
    created_at: Instant,
}

#[derive(Debug, FromRow)]
pub(super) struct ReservationRow {
    account_id: i64,
    reserve_id: String,
    order_id: Option<String>,
    amount: Amount,
    captured: Amount,
    refunded: Amount,
    state: String,
    decline: Option<String>,
    cause: Option<String>,
    created_at: Instant,
    expires_at: Option<Instant>,
}

#[derive(Debug, FromRow)]
pub(super) struct DepositRow {
    account_id: i64,
    deposit_id: String,
    amount: Amount,
    created_at: Instant,
}

#[derive(Debug, FromRow)]
pub(super) struct RefundRow {
    account_id: i64,
    reserve_id: String,
    refund_id: String,
    amount: Amount,
    created_at: Instant,
}

#[derive(Debug, FromRow)]
pub(super) struct EntryRow {
    account_id: i64,
    sequence: i64,
    kind: String,
    amount: Amount,
    balance: Amount,
    reference: String,
    order_id: Option<String>,
    created_at: Instant,
}

/// Turns rows into values; the first damaged one is the error.
pub(super) fn values<R, T>(rows: Vec<R>) -> sqlx::Result<Vec<T>>
where
    T: TryFrom<R, Error = sqlx::Error>,
{
    rows.into_iter().map(T::try_from).collect()
}

/// An account's id out of its column.
pub(super) fn account_id(id: i64) -> sqlx::Result<AccountId> {
    AccountId::new(id).map_err(damaged)
}

impl TryFrom<AccountRow> for Account {
    type Error = sqlx::Error;

    fn try_from(row: AccountRow) -> sqlx::Result<Self> {
        Ok(Self {
            account_id: account_id(row.account_id)?,
            currency: columns::currency(&row.currency)?,
            opening_balance: row.opening_balance.0,
            balance: row.balance.0,
            reserved: row.reserved.0,
            entries: row.entries,
            created_at: row.created_at.0,
        })
    }
}

impl TryFrom<ReservationRow> for Reservation {
    type Error = sqlx::Error;

    fn try_from(row: ReservationRow) -> sqlx::Result<Self> {
        Ok(Self {
            account_id: account_id(row.account_id)?,
            reserve_id: ReserveId::new(row.reserve_id).map_err(damaged)?,
            order_id: order_id(row.order_id)?,
            amount: row.amount.0,
            captured: row.captured.0,
            refunded: row.refunded.0,
            state: columns::state((&row.state, row.decline.as_deref(), row.cause.as_deref()))?,
            created_at: row.created_at.0,
            expires_at: row.expires_at.map(|end| end.0),
        })
    }
}

impl TryFrom<DepositRow> for Deposit {
    type Error = sqlx::Error;

    fn try_from(row: DepositRow) -> sqlx::Result<Self> {
        Ok(Self {
            account_id: account_id(row.account_id)?,
            deposit_id: DepositId::new(row.deposit_id).map_err(damaged)?,
            amount: row.amount.0,
            created_at: row.created_at.0,
            by: None,
        })
    }
}

impl TryFrom<RefundRow> for Refund {
    type Error = sqlx::Error;

    fn try_from(row: RefundRow) -> sqlx::Result<Self> {
        Ok(Self {
            account_id: account_id(row.account_id)?,
            reserve_id: ReserveId::new(row.reserve_id).map_err(damaged)?,
            refund_id: RefundId::new(row.refund_id).map_err(damaged)?,
            amount: row.amount.0,
            created_at: row.created_at.0,
            by: None,
        })
    }
}

impl TryFrom<EntryRow> for Entry {
    type Error = sqlx::Error;

    fn try_from(row: EntryRow) -> sqlx::Result<Self> {
        Ok(Self {
            account_id: account_id(row.account_id)?,
            sequence: row.sequence,
            kind: columns::kind(&row.kind)?,
            amount: row.amount.0,
            balance: row.balance.0,
            reference: row.reference.into(),
            order_id: order_id(row.order_id)?,
            created_at: row.created_at.0,
        })
    }
}

fn order_id(id: Option<String>) -> sqlx::Result<Option<OrderRef>> {
    id.map(OrderRef::new).transpose().map_err(damaged)
}
