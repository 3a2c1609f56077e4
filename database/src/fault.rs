//! The words for what is wrong with a database: what helps, and why.

use std::fmt;

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

    pub(crate) const DEFECT: Self = Self::new(Fault::Defect, Reason::Defect);
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
