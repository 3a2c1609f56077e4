//! What both databases can do: be connected to, begin a write, be migrated and examined.

use std::{future::Future, io};

use sqlx::{
    Connection,
    migrate::{Migrate, MigrateError, Migrator},
};

use crate::{Diagnosis, Needs, Reason, Unready, lineage::LineageTables};

/// Where migrations that were applied are written down.
const HISTORY: &str = "_sqlx_migrations";

/// A database that a [`crate::Session`] can speak to.
pub trait Backend: Send + Sync + 'static {
    /// sqlx's name for it.
    type Database: sqlx::Database<Connection = Self::Connection>;
    /// One connection.
    type Connection: Connection<Database = Self::Database> + LineageTables + Send;
    /// How to connect.
    type Options: Clone + Send + Sync + 'static;

    /// Begins a transaction that will write.
    const BEGIN: &'static str;

    /// Options for a worker, whose every statement finds its rows by their keys. Not for reading whole tables.
    fn by_key(options: Self::Options) -> Self::Options;

    /// Opens a connection, within a bounded time.
    fn connect(
        options: &Self::Options,
    ) -> impl Future<Output = sqlx::Result<Self::Connection>> + Send;

    /// Runs a statement that has no parameters and no rows.
    fn execute(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Brings the schema up to date. Safe to run from several processes at once. What a newer build applied stays.
    fn migrate(
        connection: &mut Self::Connection,
        migrator: &Migrator,
    ) -> impl Future<Output = Result<(), MigrateError>> + Send;

    /// Looks whether the database can serve a build with these needs.
    fn examine(
        connection: &mut Self::Connection,
        needs: &Needs,
    ) -> impl Future<Output = sqlx::Result<Result<(), Unready>>> + Send;
}

/// Applies what is missing.
///
/// A migration that this build does not know is a newer build's if it is newer than all that this one knows: schemas only
/// grow, so a pod of the version before goes on. One in between is not ours, and a changed one neither.
pub(crate) async fn run_migrations<C: Migrate>(
    connection: &mut C,
    migrator: &Migrator,
) -> Result<(), MigrateError> {
    let newest = migrator.iter().map(|migration| migration.version).max().unwrap_or_default();
    for applied in applied(connection).await? {
        if applied < newest && !migrator.version_exists(applied) {
            return Err(MigrateError::VersionMissing(applied));
        }
    }

    let mut forgiving = Migrator::with_migrations(migrator.iter().cloned().collect());
    forgiving.set_ignore_missing(true);
    forgiving.run_direct(None, connection, false).await
}

/// The versions that were applied; none before the first.
async fn applied<C: Migrate>(connection: &mut C) -> Result<Vec<i64>, MigrateError> {
    match connection.list_applied_migrations(HISTORY).await {
        Ok(applied) => Ok(applied.into_iter().map(|migration| migration.version).collect()),
        Err(MigrateError::Execute(error))
            if Diagnosis::of(&error).reason == Reason::NotMigrated =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// What a database that takes too long is told as.
pub(crate) fn late() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}
