//! `holdfast-verify show` and `undecided`: what both books say about one order, and which keys wait for a decision.
//!
//! For a person who looks into one case. Both databases may be in use: each is read in one short snapshot, and the two
//! are not of one moment; `agrees` rests on two looks that found the same, as a whole verification does.

use database::DatabaseUrl;
use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    facts::Name,
    read::{self, Book, ReadError},
    walk::{Settings, Walk},
};

/// What names an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Its id, which is its reservation's as well.
    Order(Uuid),
    /// The caller's idempotency key.
    Key(String),
}

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum ShowError {
    /// A database is away, or not migrated to this version.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Neither book has heard of it.
    #[error("neither book knows such an order of account {account}")]
    Unknown {
        /// The account that was asked about.
        account: i64,
    },
}

/// Everything that both books say about an order, and whether they agree.
///
/// # Errors
/// See [`ShowError`].
pub async fn show(
    [account_db, order_db]: &[DatabaseUrl; 2],
    settings: Settings,
    account: i64,
    asked: &Asked,
) -> Result<Value, ShowError> {
    let mut orders = Book::new(order_db, settings.range_timeout);
    let mut accounts = Book::new(account_db, settings.range_timeout);
    let ids = match asked {
        Asked::Order(id) => vec![id.to_string()],
        Asked::Key(key) => read::orders_of_key(&mut orders, account, key).await?,
    };

    let rows = read::of_order(&mut orders, account, &ids).await?;
    let more = read::of_account(&mut accounts, account, &ids).await?;
    let rows: Vec<_> = rows.into_iter().chain(more).collect();
    if rows.iter().all(|(_, rows)| rows.is_empty()) {
        return Err(ShowError::Unknown { account });
    }

    let names = ids.iter().filter_map(|id| Uuid::parse_str(id).ok());
    let names: Vec<_> = names.map(|id| Name { account, id }).collect();
    let differences = Walk::new(account_db, order_db, settings).differences(names).await?;

    let mut shown = json!({ "account_id": account, "agrees": differences.is_empty() });
    shown["differences"] = differences.into();
    for (name, rows) in rows {
        shown[name] = rows.into_iter().map(Value::Object).collect();
    }
    Ok(shown)
}

/// Keys that have been undecided for this long, the oldest first; at most 1,000. A key that is younger than its lease
/// is being worked on; one that is older waits for a pod that can decide it.
///
/// # Errors
/// When the database cannot be read.
pub async fn undecided(
    order_db: &DatabaseUrl,
    settings: Settings,
) -> Result<Vec<Value>, ReadError> {
    let mut orders = Book::new(order_db, settings.range_timeout);
    let age = i64::try_from(settings.horizon.as_micros()).unwrap_or(i64::MAX);
    let rows = read::undecided(&mut orders, age).await?;
    Ok(rows.into_iter().map(Value::Object).collect())
}
