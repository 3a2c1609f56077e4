//! What is read off the two databases. Every column is read as text, which both kinds of database can give.

use std::collections::{HashMap, HashSet};

use database::{DatabaseUrl, Postgres, Sqlite};
use proto::Money;
use sqlx::{Column, ConnectOptions, Row};
use thiserror::Error;
use uuid::Uuid;

/// Whose order or reservation.
pub(super) type Name = (i64, Uuid);

/// What the order service has.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Orders by account and id.
    pub(super) placed: HashMap<Name, Order>,
    /// Orders that the outbox has something to say about, with what it says.
    pub(super) waiting: HashMap<(Name, String), Wait>,
    /// Settlements that were given up by hand.
    pub(super) resolved: HashSet<(Name, String)>,
    /// Orders whose keys are undecided.
    pub(super) undecided: HashSet<Name>,
}

/// How an outbox row waits.
#[derive(Debug)]
pub(super) struct Wait {
    /// The account service refused it.
    pub(super) refused: bool,
    /// Since when.
    pub(super) age_seconds: i64,
}

/// An order.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) amount: Money,
    pub(super) cancelled: bool,
}

/// A reservation that an order made, or could have.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) state: String,
    pub(super) captured: Money,
    pub(super) refunded: Money,
    /// Whether the order service refunded of it: its refund_ids begin with the order's id.
    pub(super) by_cancel: bool,
}

/// Why the books cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The database is away, or is another one.
    #[error("cannot read {url}: {source}")]
    Database {
        /// Which.
        url: DatabaseUrl,
        /// What it said.
        source: sqlx::Error,
    },
    /// A row that no service wrote.
    #[error("cannot make sense of a row: {0}")]
    Row(String),
}

/// All reservations whose reserve_id is an order's: a UUID. Others were made by somebody else.
pub(super) async fn reservations(
    url: &DatabaseUrl,
) -> Result<HashMap<Name, Reservation>, ReadError> {
    let query = "
        SELECT CAST(account_id AS text), reserve_id, state, CAST(captured AS text), CAST(refunded AS text)
        FROM reservations";
    let cancels = "
        SELECT DISTINCT CAST(account_id AS text), reserve_id, '', '', '' FROM refunds
        WHERE refund_id = reserve_id OR refund_id LIKE reserve_id || ':cancel:%'";
    let mut cancelled = HashSet::new();
    for row in rows(url, cancels).await? {
        let [account, reserve_id, ..] = five(row)?;
        cancelled.insert((account, reserve_id));
    }
    let mut found = HashMap::new();
    for row in rows(url, query).await? {
        let [account, reserve_id, state, captured, refunded] = five(row)?;
        let Ok(id) = Uuid::parse_str(&reserve_id) else { continue };
        let (captured, refunded) = (money(url, &captured)?, money(url, &refunded)?);
        let name = (number(&account)?, id);
        let by_cancel = cancelled.contains(&(account, reserve_id));
        found.insert(name, Reservation { state, captured, refunded, by_cancel });
    }
    Ok(found)
}

/// All orders, undecided keys, outbox rows and settlements given up by hand.
pub(super) async fn orders(url: &DatabaseUrl) -> Result<Orders, ReadError> {
    let queries = match url {
        DatabaseUrl::Postgres(_) => [
            "SELECT account_id::text, order_id::text, amount::text, status, '' FROM orders",
            "SELECT account_id::text, order_id::text, action, coalesce(refused, ''), extract(epoch FROM now() - created_at)::bigint::text FROM outbox",
            "SELECT account_id::text, order_id::text, '', '', '' FROM idempotency_keys WHERE status = 'PROCESSING'",
            "SELECT account_id::text, order_id::text, action, '', '' FROM settlement_resolutions",
        ],
        DatabaseUrl::Sqlite(_) => [
            "SELECT CAST(account_id AS text), hex(order_id), CAST(amount AS text), status, '' FROM orders",
            "SELECT CAST(account_id AS text), hex(order_id), action, coalesce(refused, ''), CAST(unixepoch() - created_at / 1000000 AS text) FROM outbox",
            "SELECT CAST(account_id AS text), hex(order_id), '', '', '' FROM idempotency_keys WHERE status = 'PROCESSING'",
            "SELECT CAST(account_id AS text), hex(order_id), action, '', '' FROM settlement_resolutions",
        ],
    };
    let [placed, waiting, undecided, resolved] = queries;
    let mut orders = Orders::default();
    for row in rows(url, placed).await? {
        let [account, order_id, amount, status, _] = five(row)?;
        let order = Order { amount: money(url, &amount)?, cancelled: status == "CANCELLED" };
        orders.placed.insert(name(&account, &order_id)?, order);
    }
    for row in rows(url, waiting).await? {
        let [account, order_id, action, refused, age] = five(row)?;
        let wait = Wait { refused: !refused.is_empty(), age_seconds: number(&age)? };
        orders.waiting.insert((name(&account, &order_id)?, action), wait);
    }
    for row in rows(url, resolved).await? {
        let [account, order_id, action, ..] = five(row)?;
        orders.resolved.insert((name(&account, &order_id)?, action));
    }
    for row in rows(url, undecided).await? {
        let [account, order_id, ..] = five(row)?;
        orders.undecided.insert(name(&account, &order_id)?);
    }
    Ok(orders)
}

/// Reads rows of text columns.
///
/// # Errors
/// When the database cannot be read.
pub async fn rows(url: &DatabaseUrl, query: &'static str) -> Result<Vec<Vec<String>>, ReadError> {
    let read = async {
        match url {
            DatabaseUrl::Postgres(address) => {
                let options = Postgres::options((**address).clone(), "verify")
                    .options([("statement_timeout", "0")]);
                let found = sqlx::query(query).fetch_all(&mut options.connect().await?).await?;
                found.iter().map(texts).collect::<sqlx::Result<_>>()
            }
            DatabaseUrl::Sqlite(path) => {
                let options = Sqlite::options(path).create_if_missing(false);
                let found = sqlx::query(query).fetch_all(&mut options.connect().await?).await?;
                found.iter().map(texts).collect::<sqlx::Result<_>>()
            }
        }
    };
    read.await.map_err(|source| ReadError::Database { url: url.clone(), source })
}

fn texts<'r, R: Row>(row: &'r R) -> sqlx::Result<Vec<String>>
where
    usize: sqlx::ColumnIndex<R>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    row.columns().iter().map(|column| row.try_get(column.ordinal())).collect()
}

fn five(row: Vec<String>) -> Result<[String; 5], ReadError> {
    row.try_into().map_err(|row: Vec<String>| ReadError::Row(row.join(", ")))
}

fn name(account: &str, id: &str) -> Result<Name, ReadError> {
    Ok((number(account)?, Uuid::parse_str(id).map_err(|_| ReadError::Row(id.to_owned()))?))
}

pub(crate) fn number(text: &str) -> Result<i64, ReadError> {
    text.parse().map_err(|_| ReadError::Row(text.to_owned()))
}

/// SQLite counts in units of 10^-4.
pub(crate) fn money(url: &DatabaseUrl, text: &str) -> Result<Money, ReadError> {
    let money = match url {
        DatabaseUrl::Postgres(_) => Money::parse_or_zero(text),
        DatabaseUrl::Sqlite(_) => Money::from_units(number(text)?),
    };
    money.map_err(|_| ReadError::Row(text.to_owned()))
}
