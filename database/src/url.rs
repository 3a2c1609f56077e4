//! Where a database is: `postgres://user:password@host:port/name` or `sqlite://PATH`.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

/// A database's address. Neither `Display` nor `Debug` shows its password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
    /// A SQLite file, made if it is missing.
    Sqlite(PathBuf),
}

/// Why a text is not a database's address. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("must start with postgres:// or sqlite://")]
    Scheme,
    /// A PostgreSQL address that cannot be read.
    #[error("is not a PostgreSQL address such as postgres://user:password@host:5432/name")]
    Postgres,
    /// A PostgreSQL address without a database.
    #[error("must name a database, as in postgres://host/name")]
    NoDatabase,
    /// `sqlite://` alone, or an in-memory database, which no second connection could see.
    #[error("must name a file, as in sqlite://data/orders.db")]
    NoFile,
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.is_empty() || path.starts_with(':') || path.contains('?') {
                return Err(UrlError::NoFile);
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlError::Scheme);
        }
        let options: PgConnectOptions = text.parse().map_err(|_| UrlError::Postgres)?;
        match options.get_database() {
            Some(name) if !name.is_empty() => Ok(Self::Postgres(Box::new(options))),
            _ => Err(UrlError::NoDatabase),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(options) => write!(
                f,
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default(),
            ),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, UrlError> {
        text.parse::<DatabaseUrl>().map(|url| format!("{url} {url:?}"))
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = shown("postgres://me:s3cret@db.example:5433/orders").unwrap();
        assert_eq!(
            shown,
            "postgres://me@db.example:5433/orders postgres://me@db.example:5433/orders"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_by_kind() {
        assert_eq!(shown("mysql://x/y"), Err(UrlError::Scheme));
        assert_eq!(shown("sqlite://"), Err(UrlError::NoFile));
        assert_eq!(shown("sqlite://:memory:"), Err(UrlError::NoFile));
        assert_eq!(shown("postgres://host:notaport/x"), Err(UrlError::Postgres));
        assert_eq!(shown("postgres://me@host"), Err(UrlError::NoDatabase));
        assert_eq!(shown("sqlite://data/a.db").unwrap(), "sqlite://data/a.db sqlite://data/a.db");
    }
}
