//! Reading a live database at a bounded cost: short snapshots, a statement timeout, bounded retries, no lock.
//!
//! A [`Book`] is one connection to one database. What is read together is read in one snapshot (REPEATABLE READ, READ
//! ONLY), which ends with it: no snapshot is open longer than a range takes, so VACUUM is not held back. The role needs
//! SELECT and nothing else.

mod rows;
mod show;
mod show_sql;
mod sql;

use std::{io, time::Duration};

use database::{Backend, DatabaseUrl, Diagnosis, Fault, Postgres, Sqlite};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Database, PgConnection, SqliteConnection,
    sqlite::SqliteConnectOptions,
};
use thiserror::Error;
use tokio::time::{sleep, timeout};

pub(crate) use rows::{look_at_orders, look_at_reservations, orders, reservations};
pub(crate) use show::{of_account, of_order, orders_of_key, undecided};
pub(crate) use sql::Query;

/// How often one snapshot is tried: a failover or a restart is over after the last.
const ATTEMPTS: u32 = 5;

/// The wait after the first failure; each further one is twice as long: 15 s in all.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Opening a connection, and what a network may add to a statement's own time.
const GRACE: Duration = Duration::from_secs(15);

/// Why the books cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The database is away, refuses, or is another one.
    #[error("cannot read {url}: {source}")]
    Database {
        /// Which; without its password.
        url: DatabaseUrl,
        /// What it said.
        source: sqlx::Error,
    },
    /// A row that no service wrote.
    #[error("cannot make sense of a row of {url}: {row}")]
    Row {
        /// Where.
        url: DatabaseUrl,
        /// The row.
        row: String,
    },
}

/// One column; every kind of database can give text.
type Text = Option<String>;

/// One database, opened when it is first read and again after it failed.
pub(crate) struct Book {
    url: DatabaseUrl,
    connection: Option<Connection>,
    /// How long one statement may take.
    statement_timeout: Duration,
}

enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Book {
    pub(crate) fn new(url: &DatabaseUrl, statement_timeout: Duration) -> Self {
        Self { url: url.clone(), connection: None, statement_timeout }
    }

    /// Answers these queries in one snapshot, each with its rows.
    pub(crate) async fn snapshot(
        &mut self,
        queries: &[Query],
    ) -> Result<Vec<Vec<Vec<Text>>>, ReadError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let error = match self.attempt(queries).await {
                Ok(answers) => return Ok(answers),
                Err(error) => error,
            };
            let again = match Diagnosis::of(&error).fault {
                Fault::Gone | Fault::Stale | Fault::Conflict | Fault::Busy => attempt < ATTEMPTS,
                Fault::Defect => false,
            };
            if !again {
                return Err(ReadError::Database { url: self.url.clone(), source: error });
            }
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        }
    }

    pub(crate) fn odd(&self, row: &[Text]) -> ReadError {
        let columns = row.iter().map(|column| column.as_deref().unwrap_or("NULL"));
        let row = columns.collect::<Vec<_>>().join(", ");
        ReadError::Row { url: self.url.clone(), row }
    }

    /// The connection comes back only after a clean end.
    async fn attempt(&mut self, queries: &[Query]) -> sqlx::Result<Vec<Vec<Vec<Text>>>> {
        let statements = u32::try_from(queries.len()).unwrap_or(u32::MAX);
        let bound = self.statement_timeout.saturating_mul(statements).saturating_add(2 * GRACE);
        let read = async {
            let mut connection = match self.connection.take() {
                Some(open) => open,
                None => open(&self.url).await?,
            };
            let answers = connection.snapshot(queries, self.statement_timeout).await?;
            Ok((connection, answers))
        };
        let read = timeout(bound, read).await.unwrap_or_else(|_| Err(late()));
        let (connection, answers) = read?;
        self.connection = Some(connection);
        Ok(answers)
    }
}

impl Connection {
    async fn snapshot(
        &mut self,
        queries: &[Query],
        statement_timeout: Duration,
    ) -> sqlx::Result<Vec<Vec<Vec<Text>>>> {
        match self {
            Self::Postgres(connection) => {
                let bound = statement_timeout.as_millis();
                let begin = format!(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {bound}"
                );
                sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut *connection).await?;
            }
            Self::Sqlite(connection) => {
                sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
            }
        }
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            answers.push(self.fetch(query).await?);
        }
        self.end().await?;
        Ok(answers)
    }

    async fn fetch(&mut self, query: &Query) -> sqlx::Result<Vec<Vec<Text>>> {
        match self {
            Self::Postgres(connection) => {
                let statement = sqlx::query(query.sql.postgres);
                let statement = query.numbers.iter().fold(statement, |s, number| s.bind(*number));
                let statement = statement.bind(&query.text);
                statement.fetch_all(connection).await?.iter().map(texts).collect()
            }
            Self::Sqlite(connection) => {
                let statement = sqlx::query(query.sql.sqlite);
                let statement = query.numbers.iter().fold(statement, |s, number| s.bind(*number));
                let statement = statement.bind(&query.text);
                statement.fetch_all(connection).await?.iter().map(texts).collect()
            }
        }
    }

    /// Nothing was written; a read-only transaction commits nothing.
    async fn end(&mut self) -> sqlx::Result<()> {
        match self {
            Self::Postgres(connection) => {
                sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)
            }
            Self::Sqlite(connection) => sqlx::raw_sql("COMMIT").execute(connection).await.map(drop),
        }
    }
}

async fn open(url: &DatabaseUrl) -> sqlx::Result<Connection> {
    let opening = async {
        match url {
            DatabaseUrl::Postgres(address) => {
                // By their keys, whatever the planner believes about a table that was just restored.
                let options = Postgres::options((**address).clone(), "holdfast-verify");
                Postgres::connect(&Postgres::by_key(options)).await.map(Connection::Postgres)
            }
            DatabaseUrl::Sqlite(path) => {
                let options: SqliteConnectOptions = Sqlite::options(path);
                let options = options.create_if_missing(false).read_only(true);
                options.connect().await.map(Connection::Sqlite)
            }
        }
    };
    timeout(GRACE, opening).await.unwrap_or_else(|_| Err(late()))
}

fn texts<R: sqlx::Row>(row: &R) -> sqlx::Result<Vec<Text>>
where
    usize: sqlx::ColumnIndex<R>,
    for<'r> Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    R::Database: Database,
{
    row.columns().iter().map(|column| row.try_get(column.ordinal())).collect()
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}
