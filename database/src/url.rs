//! Where a database is: `postgres://user:password@host:port/name` or `sqlite://PATH`.
//!
//! Several PostgreSQL servers are named as libpq has it, `postgres://user@one:5432,two:5432/name`: whichever takes writes is
//! used, with `target_session_attrs=read-write` or without.

use std::{fmt, path::PathBuf, str::FromStr};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

use crate::PgOptions;

/// Servers that one address may name: each may take its time to be tried.
const SERVERS_MAX: usize = 8;

/// A database's address. Neither `Display` nor `Debug` shows its password.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A PostgreSQL server, or several of which one takes writes.
    Postgres(Box<PgOptions>),
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
    /// A PostgreSQL address with too many servers.
    #[error("must name 8 servers at most")]
    TooManyServers,
    /// A service writes: it cannot use a server that does not.
    #[error("has a target_session_attrs other than read-write or primary")]
    SessionAttributes,
    /// Ignored, it would leave the connection without a password and nobody told.
    #[error("must not have a passfile: PGPASSFILE in the environment names it")]
    Passfile,
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
        let servers = servers(text)?;
        match servers[0].get_database() {
            Some(name) if !name.is_empty() => Ok(Self::Postgres(Box::new(PgOptions::new(servers)))),
            _ => Err(UrlError::NoDatabase),
        }
    }
}

/// How each of an address's servers is connected to.
fn servers(text: &str) -> Result<Vec<PgConnectOptions>, UrlError> {
    let begin = text.find("://").ok_or(UrlError::Scheme)? + 3;
    let end = text[begin..].find(['/', '?', '#']).map_or(text.len(), |at| begin + at);
    let hosts = text[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    let (before, hosts, after) =
        (&text[..hosts], &text[hosts..end], without_attributes(&text[end..])?);
    let servers: Vec<&str> = hosts.split(',').collect();
    if servers.len() > SERVERS_MAX {
        return Err(UrlError::TooManyServers);
    }
    servers.into_iter().map(|host| server(&format!("{before}{host}{after}"))).collect()
}

fn server(text: &str) -> Result<PgConnectOptions, UrlError> {
    let options: PgConnectOptions = text.parse().map_err(|_| UrlError::Postgres)?;
    let host = options.get_host();
    // Several servers by a parameter, as libpq also has it, would be looked up as one name.
    if host.contains(',') {
        return Err(UrlError::Postgres);
    }
    // Brackets belong to the address, not to what is looked up.
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned) {
        Some(bare) => Ok(options.host(&bare)),
        None => Ok(options),
    }
}

/// What follows the servers, without `target_session_attrs`, which is ours to keep.
fn without_attributes(after: &str) -> Result<String, UrlError> {
    let Some((path, query)) = after.split_once('?') else { return Ok(after.to_owned()) };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        if pair.starts_with("passfile=") {
            return Err(UrlError::Passfile);
        }
        match pair.strip_prefix("target_session_attrs=") {
            None => kept.push(pair),
            Some("read-write" | "primary") => {}
            Some(_) => return Err(UrlError::SessionAttributes),
        }
    }
    Ok(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(options) => {
                let servers: Vec<_> = options.servers().iter().map(shown).collect();
                let name = options.get_database().unwrap_or_default();
                write!(f, "postgres://{}@{}/{name}", options.get_username(), servers.join(","))
            }
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
        }
    }
}

fn shown(server: &PgConnectOptions) -> String {
    let (host, port) = (server.get_host(), server.get_port());
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, UrlError> {
        text.parse::<DatabaseUrl>().map(|url| format!("{url} {url:?}"))
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = read("postgres://me:s3cret@db.example:5433/orders").unwrap();
        assert_eq!(
            shown,
            "postgres://me@db.example:5433/orders postgres://me@db.example:5433/orders"
        );
    }

    #[test]
    fn several_servers_are_read_each_with_its_port_and_shown_as_they_were_named() {
        let text = "postgres://me:p%40ss@one,[::1]:5433/orders?sslmode=disable&target_session_attrs=read-write";
        let url: DatabaseUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "postgres://me@one:5432,[::1]:5433/orders");
        let DatabaseUrl::Postgres(options) = url else { unreachable!("PostgreSQL") };
        let hosts: Vec<_> = options.servers().iter().map(|server| server.get_host()).collect();
        assert_eq!(hosts, ["one", "::1"]);
    }

    #[test]
    fn an_ipv6_address_is_looked_up_without_its_brackets() {
        let DatabaseUrl::Postgres(options) = "postgres://me@[::1]:5433/x".parse().unwrap() else {
            unreachable!("PostgreSQL")
        };
        assert_eq!(options.get_host(), "::1");
    }

    #[test]
    fn servers_that_a_service_cannot_use_are_refused() {
        assert_eq!(
            read("postgres://h/x?target_session_attrs=any"),
            Err(UrlError::SessionAttributes)
        );
        assert_eq!(read("postgres:///x?host=one,two"), Err(UrlError::Postgres));
        assert_eq!(read("postgres://h/x?passfile=/run/pgpass"), Err(UrlError::Passfile));
        let many = format!("postgres://{}/x", ["h"; 9].join(","));
        assert_eq!(read(&many), Err(UrlError::TooManyServers));
    }

    #[test]
    fn what_is_no_address_is_refused_by_kind() {
        assert_eq!(read("mysql://x/y"), Err(UrlError::Scheme));
        assert_eq!(read("sqlite://"), Err(UrlError::NoFile));
        assert_eq!(read("sqlite://:memory:"), Err(UrlError::NoFile));
        assert_eq!(read("postgres://host:notaport/x"), Err(UrlError::Postgres));
        assert_eq!(read("postgres://me@host"), Err(UrlError::NoDatabase));
        assert_eq!(read("sqlite://data/a.db").unwrap(), "sqlite://data/a.db sqlite://data/a.db");
    }
}
