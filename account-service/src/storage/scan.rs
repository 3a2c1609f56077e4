//! Whole tables, row by row, in the order of their primary keys. The statements read the same on both databases.

use futures_util::TryStreamExt;
use sqlx::{Database, Encode, Executor, FromRow, IntoArguments, Type};

/// Rows of accounts above one id and up to another.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// Exclusive.
    pub after: i64,
    /// Inclusive.
    pub last: i64,
}

pub(super) const ACCOUNTS: &str =
    "SELECT account_id, currency, opening_balance, balance, reserved, entries, created_at
     FROM accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2";

pub(super) const DEPOSITS: &str = "SELECT account_id, deposit_id, amount, created_at
     FROM deposits WHERE account_id > $1 AND account_id <= $2";

pub(super) const REFUNDS: &str = "SELECT account_id, reserve_id, refund_id, amount, created_at
     FROM refunds WHERE account_id > $1 AND account_id <= $2";

pub(super) const RESERVATIONS: &str =
    "SELECT account_id, reserve_id, order_id, amount, captured, refunded, state, decline, cause,
         created_at, expires_at
     FROM reservations WHERE account_id > $1 AND account_id <= $2";

pub(super) const ENTRIES: &str =
    "SELECT account_id, sequence, kind, amount, balance, reference, order_id, created_at
     FROM entries WHERE account_id > $1 AND account_id <= $2 ORDER BY account_id, sequence";

/// Passes each row of a range on. Only one is in memory at a time.
pub(super) async fn each<D, R, T>(
    connection: &mut D::Connection,
    sql: &'static str,
    range: Range,
    mut take: impl FnMut(T) + Send,
) -> sqlx::Result<()>
where
    D: Database,
    R: for<'r> FromRow<'r, D::Row> + Send + Unpin,
    T: TryFrom<R, Error = sqlx::Error>,
    D::Arguments: IntoArguments<D>,
    i64: for<'q> Encode<'q, D> + Type<D>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    let mut rows = sqlx::query_as::<D, R>(sql).bind(range.after).bind(range.last).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(T::try_from(row)?);
    }
    Ok(())
}
