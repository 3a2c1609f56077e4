//! `migrate` and `verify`, as operations use them.

use account_service::storage::Store;
use database::{Postgres, Sqlite};
use serde_json::Value;

use crate::{
    program::{Migrating, run, run_into},
    support::Fresh,
};

#[tokio::test]
async fn migrate_then_verify_on_sqlite() {
    let place = Sqlite::empty().await;
    check(&place.url).await;
    let gone = run(&["verify", "--database-url=sqlite:///nowhere/to/be/found.db"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8(gone.stderr).unwrap().contains("there is no database"));
}

#[tokio::test]
async fn migrate_then_verify_on_postgres() {
    let place = Postgres::empty().await;
    let unmigrated = run(&["verify", "--database-url", &place.url]).await;
    assert_eq!(unmigrated.status.code(), Some(1));
    check(&place.url).await;
    Store::<Postgres>::new(place.options.clone()).examine().await.unwrap();
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_told_and_is_no_panic() {
    let place = Sqlite::fresh().await;
    let output = run_into("/dev/full", &["verify", "--database-url", &place.url]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot write the report") && !told.contains("panicked"), "{told}");
}

#[tokio::test]
async fn migrate_waits_for_a_database_that_is_not_there_yet_and_says_so() {
    let mut server = tests::postgres::Postgres::start().await.unwrap();
    let url = server.create_database("account").await.unwrap();
    server.stop().unwrap();
    let mut migrating = Migrating::start(&url);
    let told = migrating.line_with("waiting to migrate").await;
    assert!(told.contains("the database does not answer"), "{told}");
    server.start_again().await.unwrap();
    assert!(migrating.end().await.success());
}

#[tokio::test]
async fn migrate_says_at_its_limit_what_it_waited_for() {
    let url = "--database-url=postgres://me@127.0.0.1:1/account";
    let output = run(&["migrate", url, "--migrate-timeout=1s"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot migrate the database") && told.contains("refused"), "{told}");
}

async fn check(url: &str) {
    for _ in 0..2 {
        let migrated = run(&["migrate", "--database-url", url]).await;
        assert!(migrated.status.success(), "{migrated:?}");
    }
    let verified = run(&["--database-url", url, "verify"]).await;
    assert!(verified.status.success(), "{verified:?}");
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!((&report["ok"], &report["accounts"]), (&true.into(), &0.into()));
}
