//! PostgreSQL: how it is connected to and what a connection is made to promise.
//!
//! An address may name several servers; the first that takes writes is used, beginning with the one that did last. What a
//! connection promises is set by statements after the connection is there, not by start-up parameters, which poolers
//! refuse. A pooler that shares connections between transactions is found out and refused: nothing that is set, prepared
//! or locked lasts there.

use std::{
    fmt::Write as _,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::timeout;

use crate::{
    Backend, Needs, Unready,
    backend::{late, run_migrations},
    unfit::Unfit,
};

/// What every connection relies on, whatever the server's or the role's defaults are: acknowledged means flushed, each
/// statement sees what was committed before it, and a stuck worker holds no lock for ever.
const SETTINGS: [(&str, &str); 5] = [
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "15s"),
];

/// Rows are found by their keys, and a statement is planned once for its connection.
///
/// Without this the planner goes by statistics, and a young table has none: it takes the table for a few pages, plans
/// to read all of it for each batch, and a long-lived connection keeps that plan while the table grows.
const BY_KEY: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // Else a nested loop may read a small table once and keep it, instead of looking rows up.
    ("enable_material", "off"),
    // A plan that a switched-off method makes dear would be compiled for each batch.
    ("jit", "off"),
];

/// How long opening a connection to one server may take, all that is asked first included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the two sessions of a process may take to be told apart: a dozen round trips, once.
const LOOKS_TIMEOUT: Duration = Duration::from_secs(10);

/// How often two sessions are held against each other before they are taken to be two.
const LOOKS: usize = 3;

/// Marks a session with an id that no other has. The name is our own, and means nothing to the server.
const MARK: &str = "SELECT set_config('holdfast.session', gen_random_uuid()::text, false)";

const MARKED: &str = "SELECT current_setting('holdfast.session', true)";

const TAKES_WRITES: &str = "SELECT current_setting('transaction_read_only') = 'off' AS yes";

/// Whether this is a session of ours on a server that takes writes. A transaction id is drawn: where they are used up,
/// reads go on and every write fails.
const EXAMINE: &str = "
    SELECT
        current_setting('transaction_read_only') = 'on' AS read_only,
        current_setting('server_encoding') AS encoding,
        (SELECT bool_and(current_setting(name) = value) FROM unnest($1::text[], $2::text[]) AS ours(name, value)) AS ours,
        CASE WHEN current_setting('transaction_read_only') = 'off' THEN pg_current_xact_id() IS NOT NULL END AS writes";

const HAS_HISTORY: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";

const SCHEMA_VERSION: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";

const LACKING: &str = "
    SELECT privilege || ' on ' || name
    FROM unnest($1::text[], $2::text[]) AS needed(name, privilege)
    WHERE NOT has_table_privilege(name, privilege) LIMIT 1";

const ENCODING: &str = "SELECT current_setting('server_encoding')";

/// PostgreSQL 14 to 18; CI tests with Debian's.
#[derive(Debug)]
pub enum Postgres {}

/// Where a server is, or several of which one takes writes, and what is set on each connection.
///
/// Derefs to how the first is connected to.
#[derive(Debug, Clone)]
pub struct PgOptions {
    servers: Vec<PgConnectOptions>,
    settings: Vec<(&'static str, &'static str)>,
    found: Arc<Found>,
}

/// What connections found out for those that come after them.
#[derive(Debug, Default)]
struct Found {
    /// Which server took writes last.
    server: AtomicUsize,
    /// Two sessions were seen to be two.
    keeps_sessions: AtomicBool,
}

/// A step of connecting, which a network may slow down, but not for ever.
async fn within<T>(
    limit: Duration,
    step: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(limit, step).await.unwrap_or_else(|_| Err(late()))
}

impl PgOptions {
    /// One of these servers, whichever takes writes.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn new(servers: Vec<PgConnectOptions>) -> Self {
        assert!(!servers.is_empty(), "an address has a server");
        // Poolers refuse this one, and floats are sent as they are.
        let servers = servers.into_iter().map(|server| server.extra_float_digits(None)).collect();
        Self { servers, settings: Vec::new(), found: Arc::default() }
    }

    /// All servers, in the order in which they were named.
    pub fn servers(&self) -> &[PgConnectOptions] {
        &self.servers
    }

    /// Sets these on each connection too; the last word on a name counts.
    #[must_use]
    pub fn options(
        mut self,
        settings: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> Self {
        self.settings.extend(settings);
        self
    }

    /// Connects to the first server that takes writes; where there is only one, to that.
    ///
    /// # Errors
    /// The last server's, or [`Unfit`] as a configuration error.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        let (count, last) = (self.servers.len(), self.found.server.load(Ordering::Relaxed));
        let mut why = None;
        for at in (0..count).map(|turn| (last + turn) % count) {
            match self.connect_to(&self.servers[at]).await {
                Ok(connection) => {
                    self.found.server.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => {
                    tracing::debug!(%error, host = self.servers[at].get_host(), "not connected");
                    why = Some(error);
                }
            }
        }
        Err(why.unwrap_or_else(late))
    }

    async fn connect_to(&self, server: &PgConnectOptions) -> sqlx::Result<PgConnection> {
        let mut connection = within(CONNECT_TIMEOUT, server.connect()).await?;
        if self.servers.len() > 1 {
            let asked = sqlx::raw_sql(TAKES_WRITES).fetch_one(&mut connection);
            let row = within(CONNECT_TIMEOUT, asked).await?;
            if !row.try_get::<bool, _>("yes")? {
                return Err(Unfit::ReadOnly.into());
            }
        }

        // Before anything is set: on a shared connection it would reach whoever has it next.
        if !self.settings.is_empty() && !self.found.keeps_sessions.load(Ordering::Relaxed) {
            within(LOOKS_TIMEOUT, self.see_two_sessions(&mut connection, server)).await?;
        }
        let settings = sqlx::raw_sql(AssertSqlSafe(self.statements())).execute(&mut connection);
        within(CONNECT_TIMEOUT, settings).await?;
        Ok(connection)
    }

    /// Marks one session, then another, and sees whether the first still has its own mark. On a server that two sessions
    /// share it has the other's, or none.
    async fn see_two_sessions(
        &self,
        one: &mut PgConnection,
        server: &PgConnectOptions,
    ) -> sqlx::Result<()> {
        let Ok(mut other) = server.connect().await else {
            // No room for a second connection: the next that is opened looks again.
            return Ok(());
        };
        for _ in 0..LOOKS {
            let mark = text(one, MARK).await?;
            text(&mut other, MARK).await?;
            if mark.is_none() || text(one, MARKED).await? != mark {
                return Err(Unfit::Pooler.into());
            }
        }
        self.found.keeps_sessions.store(true, Ordering::Relaxed);
        // A goodbye that fails leaves nothing behind.
        let _closed = other.close().await;
        Ok(())
    }

    fn statements(&self) -> String {
        let mut all = String::new();
        for (name, value) in &self.settings {
            write!(all, "SET {name} = '{value}';").expect("a String takes any text");
        }
        all
    }
}

impl Deref for PgOptions {
    type Target = PgConnectOptions;

    fn deref(&self) -> &PgConnectOptions {
        &self.servers[0]
    }
}

impl Postgres {
    /// How to connect to the server at an address, with the limits above. The application name is shown in
    /// `pg_stat_activity`.
    pub fn options(address: PgOptions, application: &str) -> PgOptions {
        let named = |server: PgConnectOptions| {
            server.application_name(application).disable_statement_logging()
        };
        let servers = address.servers.into_iter().map(named).collect();
        PgOptions { servers, ..address }.options(SETTINGS)
    }
}

impl Backend for Postgres {
    type Database = sqlx::Postgres;
    type Connection = PgConnection;
    type Options = PgOptions;

    const BEGIN: &'static str = "BEGIN";

    fn by_key(options: PgOptions) -> PgOptions {
        options.options(BY_KEY)
    }

    async fn connect(options: &PgOptions) -> sqlx::Result<PgConnection> {
        options.connect().await
    }

    async fn execute(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
        sqlx::raw_sql(sql).execute(connection).await.map(drop)
    }

    async fn migrate(
        connection: &mut PgConnection,
        migrator: &Migrator,
    ) -> Result<(), MigrateError> {
        let encoding: String = sqlx::query_scalar(ENCODING).fetch_one(&mut *connection).await?;
        if encoding != "UTF8" {
            return Err(sqlx::Error::from(Unfit::Encoding(encoding)).into());
        }
        run_migrations(connection, migrator).await
    }

    async fn examine(
        connection: &mut PgConnection,
        needs: &Needs,
    ) -> sqlx::Result<Result<(), Unready>> {
        let (names, values): (Vec<_>, Vec<_>) = SETTINGS.into_iter().unzip();
        let asked = sqlx::query(EXAMINE).bind(names).bind(values);
        let row = asked.fetch_one(&mut *connection).await?;
        if row.try_get("read_only")? {
            return Ok(Err(Unfit::ReadOnly.into()));
        }
        if row.try_get::<Option<bool>, _>("ours")? != Some(true) {
            return Ok(Err(Unfit::Pooler.into()));
        }
        let encoding: String = row.try_get("encoding")?;
        if encoding != "UTF8" {
            return Ok(Err(Unfit::Encoding(encoding).into()));
        }

        // A privilege on a table that is not there is an error, so each is asked for when its table is known to be.
        if !sqlx::query_scalar(HAS_HISTORY).fetch_one(&mut *connection).await? {
            return Ok(needs.judge_version(None));
        }
        if let Err(lacking) = may(connection, &[("_sqlx_migrations", "SELECT")]).await? {
            return Ok(Err(lacking));
        }
        let version = sqlx::query_scalar(SCHEMA_VERSION).fetch_one(&mut *connection).await?;
        match needs.judge_version(version) {
            Ok(()) => may(connection, needs.privileges).await,
            Err(old) => Ok(Err(old)),
        }
    }
}

/// Whether this role has these privileges on these tables.
async fn may(
    connection: &mut PgConnection,
    needed: &[(&str, &str)],
) -> sqlx::Result<Result<(), Unready>> {
    let (tables, privileges): (Vec<_>, Vec<_>) = needed.iter().copied().unzip();
    let asked = sqlx::query_scalar(LACKING).bind(tables).bind(privileges);
    let lacking: Option<String> = asked.fetch_optional(connection).await?;
    Ok(lacking.map_or(Ok(()), |what| Err(Unready::Privilege(what))))
}

/// One text, by the simple protocol: nothing is prepared, which a pooler might mix up.
async fn text(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<Option<String>> {
    sqlx::raw_sql(sql).fetch_one(connection).await?.try_get(0)
}
