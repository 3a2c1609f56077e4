//! History: orders that were placed, paid and captured long ago, written straight into both databases.
//!
//! For measuring how a pair fares that has been at work for months. What is written is what the services would have
//! written, and the invariants hold for it. PostgreSQL makes the rows itself, in bulk; each database gets all of its rows
//! in one transaction or none, and is vacuumed and analysed as autovacuum would have done by then.

use sqlx::{Connection, Executor, PgConnection};
use tokio::try_join;

use crate::HarnessError;

/// How much history.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Orders, of 1 each.
    pub orders: i64,
    /// Accounts 1 to this paid for them, each for as many but the last. They are open and have the money.
    pub accounts: i64,
}

/// What the statements below share: order number `i` of `$1`, paid by one of `$2` accounts. An account's orders follow
/// each other, because an index is written much faster in its own order; the first half of them is yesterday's. Ids are
/// older than any the services make.
macro_rules! of_each_order {
    ($insert:literal) => {
        concat!(
            $insert,
            " FROM (SELECT 1 + i / share AS account, i % share AS of_account, 'fill-' || i AS name,
                 ('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS id,
                 ('01900001-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS payment,
                 now() - make_interval(days => (1 - 2 * (i % share) / share)::int) AS at
             FROM generate_series(0, $1 - 1) AS i, (SELECT ($1 + $2 - 1) / $2 AS share) AS each) AS fill"
        )
    };
}

const ORDER_TABLES: [&str; 3] = [
    of_each_order!(
        "INSERT INTO orders (account_id, order_id, idempotency_key, amount, basket, status, created_at)
         SELECT account, id, name, 1, '{\"amount\":\"1\"}', 'PLACED', at"
    ),
    of_each_order!(
        "INSERT INTO payments (account_id, order_id, payment_id, amount, status, created_at)
         SELECT account, id, payment, 1, 'COMPLETED', at"
    ),
    of_each_order!(
        "INSERT INTO idempotency_keys (account_id, idempotency_key, day, order_id, status, fence, lease_until,
             digest, amount, request, response, created_at, decided_at)
         SELECT account, name, (at AT TIME ZONE 'UTC')::date, id, 'SUCCESS', 1, at,
             sha256(name::bytea), 1, '{\"amount\":\"1\"}',
             '{\"outcome\":\"placed\",\"payment_id\":\"' || payment || '\"}', at, at"
    ),
];

const ACCOUNT_TABLES: [&str; 3] = [
    of_each_order!(
        "INSERT INTO reservations (account_id, reserve_id, order_id, amount, captured, refunded, state, created_at,
             expires_at)
         SELECT account, id::text, id::text, 1, 1, 0, 'CAPTURED', at, at + interval '7 days'"
    ),
    concat!(
        of_each_order!(
            "INSERT INTO entries (account_id, sequence, kind, amount, balance, reference, order_id, created_at)
             SELECT account, a.entries + of_account + 1, 'CAPTURE', 1, a.balance - of_account - 1, id::text, id::text, at"
        ),
        " JOIN accounts AS a ON a.account_id = account"
    ),
    concat!(
        "UPDATE accounts AS a SET balance = a.balance - paid.orders, entries = a.entries + paid.orders FROM (",
        of_each_order!("SELECT account, count(*) AS orders"),
        " GROUP BY account) AS paid WHERE a.account_id = paid.account"
    ),
];

/// Writes history into the databases of a pair that is idle.
///
/// # Errors
/// When a database refuses: nothing was written into that one.
pub async fn fill(account_db: &str, order_db: &str, history: History) -> Result<(), HarnessError> {
    try_join!(write(account_db, ACCOUNT_TABLES, history), write(order_db, ORDER_TABLES, history))
        .map(drop)
        .map_err(|source| HarnessError::Database { what: "write history".to_owned(), source })
}

async fn write(url: &str, tables: [&'static str; 3], history: History) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut transaction = connection.begin().await?;
    for table in tables {
        let rows = sqlx::query(table).bind(history.orders).bind(history.accounts);
        rows.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.execute("VACUUM (ANALYZE)").await?;
    connection.close().await
}
