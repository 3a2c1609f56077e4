//! Rows of either database, whole tables of them at rest. Every column is read as text, which both kinds can give.

use database::{DatabaseUrl, Postgres, Sqlite};
use proto::Money;
use sqlx::{Column, ConnectOptions, Row};
use thiserror::Error;

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

/// All rows of a query.
///
/// # Errors
/// When the database cannot be read.
pub async fn rows(url: &DatabaseUrl, query: &'static str) -> Result<Vec<Vec<String>>, ReadError> {
    let read = async {
        match url {
            DatabaseUrl::Postgres(address) => {
                let options = Postgres::options((**address).clone(), "tests")
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
