//! `migrate` and `verify`, as operations use them.

use account_service::storage::Store;
use database::{Postgres, Sqlite};
use serde_json::Value;

use crate::{program::run, support::Fresh};

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
    assert!(Store::<Postgres>::new(place.options.clone()).is_migrated().await.unwrap());
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
