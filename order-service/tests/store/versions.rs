//! Programs and schemas of different ages: which go together, and what says that they do not.

use std::{fs, path::Path};

use database::{DatabaseUrl, Postgres, Session, Sqlite, Unready};
use sqlx::migrate::{MigrateError, Migrator};

use crate::{
    on_both,
    support::{Fresh, LONG, Place},
    verifying::execute,
};

on_both!(
    a_program_is_not_ready_on_the_schema_of_the_version_before,
    a_program_that_was_rolled_back_migrates_and_is_ready_on_the_newer_schema,
    a_migration_that_was_changed_or_is_not_ours_is_refused,
);

const FORGET_THE_NEWEST: &str =
    "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";

/// A migration of a release to come.
const NEWER: &str = "
    INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    SELECT 9000, 'newer', true, checksum, 1 FROM _sqlx_migrations WHERE version = 1";

async fn a_program_is_not_ready_on_the_schema_of_the_version_before<B: Fresh>() {
    let place = B::empty().await;
    let mut store = place.store::<B>(LONG);
    assert!(matches!(store.examine().await, Err(Unready::Schema { found: 0, .. })));
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
    execute(&place, FORGET_THE_NEWEST.to_owned()).await;
    let unready = store.examine().await.unwrap_err();
    assert!(matches!(unready, Unready::Schema { .. }), "{unready:?}");
    assert!(unready.to_string().contains("run `order-service migrate`"), "{unready}");
}

async fn a_program_that_was_rolled_back_migrates_and_is_ready_on_the_newer_schema<B: Fresh>() {
    let place = B::fresh().await;
    execute(&place, NEWER.to_owned()).await;
    let mut store = place.store::<B>(LONG);
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
}

async fn a_migration_that_was_changed_or_is_not_ours_is_refused<B: Fresh>() {
    let place = B::fresh().await;
    execute(&place, NEWER.replace("9000", "0")).await;
    let foreign = place.store::<B>(LONG).migrate().await.unwrap_err();
    assert!(matches!(foreign, MigrateError::VersionMissing(0)), "{foreign:?}");
    let changed = "DELETE FROM _sqlx_migrations WHERE version = 0;
                   UPDATE _sqlx_migrations SET checksum = execution_time || 'x' WHERE version = 1";
    let changed = changed.replace(
        "execution_time || 'x'",
        match &place.url {
            DatabaseUrl::Postgres(_) => "'\\x00'",
            DatabaseUrl::Sqlite(_) => "x'00'",
        },
    );
    execute(&place, changed).await;
    let changed = place.store::<B>(LONG).migrate().await.unwrap_err();
    assert!(matches!(changed, MigrateError::VersionMismatch(1)), "{changed:?}");
}

/// All migrations of this build but the newest: the history as the version before knows it.
async fn of_the_version_before(backend: &str) -> Migrator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
    let all = Migrator::new(path).await.unwrap();
    let newest = all.iter().map(|migration| migration.version).max().unwrap();
    Migrator::with_migrations(
        all.iter().filter(|migration| migration.version < newest).cloned().collect(),
    )
}

#[tokio::test]
async fn a_build_that_lacks_the_newest_migration_runs_on_a_schema_that_has_it() {
    let place: Place = Postgres::fresh().await;
    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    let options = Postgres::options((**address).clone(), "the version before");
    let before = of_the_version_before("postgres").await;
    Session::<Postgres>::new(options).migrate(&before).await.unwrap();

    let place = Sqlite::fresh().await;
    let DatabaseUrl::Sqlite(path) = &place.url else { unreachable!("a SQLite test") };
    // One history with a single migration has no version before.
    let before = of_the_version_before("sqlite").await;
    Session::<Sqlite>::new(Sqlite::options(path)).migrate(&before).await.unwrap();
}

#[test]
fn migrations_are_ascii() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut read = 0;
    for service in ["account-service", "order-service"] {
        for backend in ["postgres", "sqlite"] {
            let directory = root.join(service).join("migrations").join(backend);
            for file in fs::read_dir(directory).unwrap() {
                let path = file.unwrap().path();
                read += 1;
                // Some before these have other characters in their comments, and committed ones are never edited.
                let committed_before = path.file_name().unwrap().to_str().unwrap() < "0003";
                assert!(committed_before || fs::read(&path).unwrap().is_ascii(), "{path:?}");
            }
        }
    }
    assert!(read >= 5, "{read} migrations");
}
