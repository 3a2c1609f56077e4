//! `verify` finds what is broken: each check is shown a database in which it must speak up.

use database::{DatabaseUrl, Sqlite};
use order_service::{
    order::decision::Verdict,
    storage::{Store, Tables},
};
use sqlx::ConnectOptions;

use crate::{
    on_both,
    support::{Fresh, LONG, Place, amount, claim, decide, lines, product},
};

on_both!(each_invariant_is_missed_when_it_is_broken);

/// What is broken, and which invariant that is.
const BREAKS: &[(&str, &str)] = &[
    ("DELETE FROM orders", "I3"),
    ("UPDATE idempotency_keys SET status = 'FAILED'", "I3"),
    ("UPDATE idempotency_keys SET amount = amount + 1", "I4"),
    ("UPDATE orders SET basket = '{\"amount\":\"1\"}'", "I4"),
    ("DELETE FROM payments", "I5"),
    ("UPDATE payments SET amount = amount + 1", "I5"),
    ("UPDATE orders SET status = 'CANCELLED'", "I5"),
    ("UPDATE outbox SET action = 'RELEASE'", "I6"),
    ("UPDATE outbox SET action = 'REFUND'", "I6"),
    ("UPDATE products SET stock = stock - 1", "I7"),
];

async fn each_invariant_is_missed_when_it_is_broken<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    store.put_products(&[product(1, "10", 5)]).await.unwrap();
    for request in [lines(1, "a", &[(1, 2)]), amount(2, "b", "10")] {
        let claim = claim(&mut store, &request).await;
        decide(&mut store, &claim, Verdict::Reserved).await;
    }
    assert!(store.verify().await.unwrap().is_empty());
    for (damage, invariant) in BREAKS {
        let broken = damaged(&place, damage, &mut store).await;
        assert!(broken.iter().any(|found| found == invariant), "{damage}: found {broken:?}");
    }
    assert!(store.verify().await.unwrap().is_empty());
}

/// Which invariants `verify` misses after some damage, which is then undone.
async fn damaged<B: Tables>(
    place: &Place,
    damage: &'static str,
    store: &mut Store<B>,
) -> Vec<&'static str> {
    const TABLES: [&str; 5] = ["idempotency_keys", "orders", "payments", "products", "outbox"];
    let save = |table| format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}");
    let restore = |table| {
        format!(
            "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved_{table}; DROP TABLE saved_{table}"
        )
    };
    execute(place, TABLES.map(save).join(";")).await;
    execute(place, damage.to_owned()).await;
    let breaches = store.verify().await.unwrap();
    execute(place, TABLES.map(restore).join(";")).await;
    breaches.into_iter().map(|breach| breach.invariant).collect()
}

pub(crate) async fn execute(place: &Place, sql: String) {
    let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            sql.execute(&mut address.connect().await.unwrap()).await.map(drop).unwrap();
        }
        DatabaseUrl::Sqlite(path) => {
            let options = database::Sqlite::options(path);
            sql.execute(&mut options.connect().await.unwrap()).await.map(drop).unwrap();
        }
    }
}

/// The built program's `verify`, with its report going to a file.
fn verify(url: &str, report: &str) -> std::process::Output {
    let report = std::fs::File::options().write(true).open(report).unwrap();
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_order-service"));
    program.args(["verify", "--database-url", url]).env_clear().stdout(report);
    program.output().unwrap()
}

#[test]
fn verifying_a_database_that_is_not_there_makes_none() {
    let directory = tempfile::TempDir::new().unwrap();
    let folder = directory.path().join("new");
    let output = verify(&format!("sqlite://{}/order.db", folder.display()), "/dev/null");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no database at"));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_told_and_is_no_panic() {
    let place = Sqlite::fresh().await;
    let output = verify(&place.url.to_string(), "/dev/full");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot write the report") && !told.contains("panicked"), "{told}");
}
