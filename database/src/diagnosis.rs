//! What a database's error means: for the work that met it, and for whoever looks after the database.
//!
//! The rule is the reverse of a list of what may be retried: only what is certainly our own defect is one. Whatever else a
//! server, a pooler, a disk or a network says is its environment's doing, may pass, and is told to callers as
//! UNAVAILABLE, never as INTERNAL.

use std::{fmt, io};

use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
    postgres::PgDatabaseError,
};

use crate::{Discontinuity, sqlstate, unfit::Unfit};

/// The classes of database errors, by what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection broke. What was sent last took effect or did not.
    Gone,
    /// The server refused, and this connection will not do better: another one may. What was sent took no effect.
    Stale,
    /// Another transaction was first: the same one, run again, sees its work.
    Conflict,
    /// The database cannot do it now: full, locked, not migrated yet. The connection is good.
    Busy,
    /// It would fail again.
    Defect,
}

/// Why, in one of a bounded number of words: the label of a metric, and a sentence for readiness and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The database takes no connections, as while it is restored.
    Closed,
    /// Another transaction was first.
    Conflict,
    /// What was read is not a database's page.
    Corrupt,
    /// User or password are refused.
    Credentials,
    /// Our own defect.
    Defect,
    /// The database stores text in another encoding than UTF-8.
    Encoding,
    /// No disk, memory or connection is left.
    Full,
    /// A limit of the server, such as transaction ids that are used up.
    Limit,
    /// Waited too long for a lock.
    Locked,
    /// The database does not exist.
    NoDatabase,
    /// The table has no partition for the row's day.
    NoPartition,
    /// A table or column is missing.
    NotMigrated,
    /// Something else that the server refused.
    Other,
    /// A pooler gives statements of one session to several servers.
    Pooler,
    /// A privilege is missing.
    Privilege,
    /// The server, or its role, is read-only.
    ReadOnly,
    /// The server is starting or stopping.
    Restarting,
    /// The server failed inside.
    Server,
    /// A plan of an older schema.
    StalePlan,
    /// It took too long.
    Timeout,
    /// The certificate is refused, or there is none.
    Tls,
    /// No connection.
    Unreachable,
    /// Commits that were seen are gone, or it is another database: see [`crate::lineage`].
    WentBack,
}

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Diagnosis {
    /// What helps.
    pub fault: Fault,
    /// Why.
    pub reason: Reason,
}

impl Diagnosis {
    pub(crate) const fn new(fault: Fault, reason: Reason) -> Self {
        Self { fault, reason }
    }

    const DEFECT: Self = Self::new(Fault::Defect, Reason::Defect);

    /// Reads an error of either backend.
    pub fn of(error: &Error) -> Self {
        if let Error::Database(refusal) = error {
            return of_refusal(refusal.as_ref());
        }
        if let Error::Configuration(why) = error {
            // Work that the lineage refuses; no other connection will do better.
            if why.is::<Discontinuity>() {
                return Self::new(Fault::Busy, Reason::WentBack);
            }
            let reason = why.downcast_ref::<Unfit>().map_or(Reason::Other, Unfit::reason);
            return Self::new(Fault::Stale, reason);
        }
        if let Error::Io(why) = error {
            return Self::new(Fault::Gone, reason_of_io(why.kind()));
        }
        if matches!(error, Error::Tls(_)) {
            return Self::new(Fault::Gone, Reason::Tls);
        }
        if matches!(error, Error::Protocol(_) | Error::WorkerCrashed | Error::BeginFailed) {
            return Self::new(Fault::Gone, Reason::Unreachable);
        }
        // What is left says that a row is not what we wrote, or that we asked wrongly.
        Self::DEFECT
    }
}

impl Reason {
    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Credentials => "credentials",
            Self::Defect => "defect",
            Self::Encoding => "encoding",
            Self::Full => "full",
            Self::Limit => "limit",
            Self::Locked => "locked",
            Self::NoDatabase => "no_database",
            Self::NoPartition => "no_partition",
            Self::NotMigrated => "not_migrated",
            Self::Other => "other",
            Self::Pooler => "pooler",
            Self::Privilege => "privilege",
            Self::ReadOnly => "read_only",
            Self::Restarting => "restarting",
            Self::Server => "server",
            Self::StalePlan => "stale_plan",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unreachable => "unreachable",
            Self::WentBack => "went_back",
        }
    }
}

/// A sentence for an operator.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the database takes no connections",
            Self::Conflict => "other transactions were always first",
            Self::Corrupt => "the database's files are damaged",
            Self::Credentials => "the database refuses this user or its password",
            Self::Defect => "the database refuses what this program asks",
            Self::Encoding => "the database's encoding is not UTF8",
            Self::Full => "the database has no disk, memory or connection left",
            Self::Limit => "the database has reached a limit, such as its transaction ids",
            Self::Locked => "a lock in the database is held for too long",
            Self::NoDatabase => "the database does not exist",
            Self::NoPartition => "a table has no partition for today",
            Self::NotMigrated => "a table or column is missing: run `migrate`",
            Self::Other => "the database refuses",
            Self::Pooler => "a pooler shares this connection: use its session mode",
            Self::Privilege => "this role lacks a privilege",
            Self::ReadOnly => "the database is read-only",
            Self::Restarting => "the database is starting or stopping",
            Self::Server => "the database failed inside",
            Self::StalePlan => "the schema has just changed",
            Self::Timeout => "the database takes too long",
            Self::Tls => {
                "TLS with the database failed: is its certificate trusted, and issued by a CA?"
            }
            Self::Unreachable => "the database does not answer",
            Self::WentBack => "the database is not the one that was seen before",
        })
    }
}

fn reason_of_io(kind: io::ErrorKind) -> Reason {
    if kind == io::ErrorKind::TimedOut {
        Reason::Timeout
    } else if kind == io::ErrorKind::InvalidData {
        // So rustls reports a certificate that it refuses.
        Reason::Tls
    } else {
        Reason::Unreachable
    }
}

fn of_refusal(refusal: &dyn DatabaseError) -> Diagnosis {
    if let Some(postgres) = refusal.try_downcast_ref::<PgDatabaseError>() {
        return sqlstate::diagnose(postgres.code(), postgres.constraint().is_some());
    }
    let code = refusal.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    sqlite(code, refusal)
}

/// By SQLite's result code; its lowest byte is the class.
fn sqlite(code: u32, refusal: &dyn DatabaseError) -> Diagnosis {
    let diagnosis = Diagnosis::new;
    // A snapshot that a writer overtook.
    if code == 517 || refusal.kind() == ErrorKind::UniqueViolation {
        return diagnosis(Fault::Conflict, Reason::Conflict);
    }
    match code & 0xff {
        // A statement that SQLite cannot compile: an unknown table is the schema's fault, the rest is ours.
        1 if refusal.message().starts_with("no such") => {
            diagnosis(Fault::Busy, Reason::NotMigrated)
        }
        // Logic error, too big, constraint, type mismatch, misuse, parameter out of range
        1 | 18 | 19 | 20 | 21 | 25 => Diagnosis::DEFECT,
        3 | 23 => diagnosis(Fault::Busy, Reason::Privilege),
        5 | 6 | 15 => diagnosis(Fault::Busy, Reason::Locked),
        7 | 13 => diagnosis(Fault::Busy, Reason::Full),
        // A file that was opened read-only stays so for its connection.
        8 => diagnosis(Fault::Stale, Reason::ReadOnly),
        9 => diagnosis(Fault::Busy, Reason::Timeout),
        10 => diagnosis(Fault::Gone, Reason::Server),
        11 | 26 => diagnosis(Fault::Stale, Reason::Corrupt),
        14 => diagnosis(Fault::Gone, Reason::Unreachable),
        17 => diagnosis(Fault::Stale, Reason::StalePlan),
        _ => diagnosis(Fault::Busy, Reason::Other),
    }
}
