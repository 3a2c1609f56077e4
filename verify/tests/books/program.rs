//! The program as operators meet it: what it prints, how it exits, what it must be allowed.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use tests::clients::Clients;
use tests::cluster::Service;

use super::support::{Backend, World, lines, order_id, program};

/// Another caller's, of version 4.
const FOREIGN: &str = "7d444840-9dc0-41d1-b245-5ffdce74fad2";

async fn money_astray_is_found_and_foreign_money_is_not(backend: Backend) {
    let world = World::start(backend).await;
    world.open(1, "100").await;
    let (code, report) = world.verify(&[]).await;
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report}");

    // Other callers' holds and captures are theirs.
    for (id, captured) in [("hotel-1", false), ("hotel-2", true), (FOREIGN, true)] {
        world.reserve(1, "1", id).await;
        if captured {
            world.capture(1, id).await;
        }
    }
    let (code, report) = world.verify(&["--strict"]).await;
    assert_eq!((code, &report["foreign"]), (Some(0), &3.into()), "{report}");

    // A hold by an order's id may be another caller's: a warning, and a breach when asked to be strict.
    let held = order_id();
    world.reserve(1, "2", &held).await;
    let (code, report) = world.verify(&[]).await;
    assert_eq!((code, &report["suspects"][0]["order"]), (Some(0), &held.clone().into()));
    let (code, report) = world.verify(&["--strict"]).await;
    assert_eq!((code, &report["breaches"][0]["order"]), (Some(1), &held.into()), "{report}");

    // Money that was taken for no order is a breach, once it is older than the horizon.
    let taken = order_id();
    world.reserve(1, "3", &taken).await;
    world.capture(1, &taken).await;
    let (code, report) = world.verify(&[]).await;
    let breach = &report["breaches"][0];
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()), "{report}");
    assert_eq!((&breach["order"], &breach["invariant"]), (&taken.into(), &"I6".into()));
    let (code, report) = world.verify(&["--horizon=1h"]).await;
    assert_eq!((code, &report["young"]), (Some(0), &2.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_astray_is_found_and_foreign_money_is_left_alone_on_postgres() {
    money_astray_is_found_and_foreign_money_is_not(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_astray_is_found_and_foreign_money_is_left_alone_on_sqlite() {
    money_astray_is_found_and_foreign_money_is_not(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_select_is_enough() {
    let world = World::start(Backend::Postgres).await;
    world.open(1, "100").await;
    let reader = |url: &str| url.replace("postgres@", "auditor@");
    let databases = world.cluster.databases().clone();
    let mut admin = PgConnection::connect(&databases.account).await.unwrap();
    admin.execute("CREATE ROLE auditor LOGIN").await.unwrap();
    for url in [&databases.account, &databases.order] {
        let mut admin = PgConnection::connect(url).await.unwrap();
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO auditor").await.unwrap();
    }
    let (account, order) = (reader(&databases.account), reader(&databases.order));
    let output = program(&["--account-db", &account, "--order-db", &order]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines(&output)[0]["ok"], true);
}

#[tokio::test]
async fn books_that_cannot_be_read_are_exit_code_2_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| format!("sqlite://{}/missing/{name}", directory.path().display());
    let output = program(&["--account-db", &path("a"), "--order-db", &path("b")]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(output.stdout.is_empty());

    // An address that is none, and a password that is not shown.
    let output = program(&["--account-db", "postgres://me:s3cret@", "--order-db", "x"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("s3cret"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_read_against_another_order_database_gives_nothing_back() {
    let world = World::start(Backend::Sqlite).await;
    world.open(1, "100").await;
    world.place(1, "key", "30").await;
    world.settled().await;

    let directory = tempfile::tempdir().unwrap();
    let other = format!("sqlite://{}/order.db", directory.path().display());
    world.cluster.binaries().migrate(Service::Order, &other).unwrap();
    let flags = ["--apply", "--sole-caller"];
    let (code, lines) = world.repair_against(&other, &flags).await;
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert_eq!((&lines[0]["action"], &lines[0]["state"]), (&"refund".into(), &"refused".into()));
    assert_eq!(world.account(1).await.balance, "70");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_a_service_breaks_off_is_exit_code_2_and_goes_on_when_begun_again() {
    let mut world = World::start(Backend::Sqlite).await;
    world.open(1, "100").await;
    let taken = order_id();
    world.reserve(1, "20", &taken).await;
    world.capture(1, &taken).await;
    let flags = ["--apply", "--sole-caller"];
    for pod in &mut world.cluster.account {
        pod.kill().unwrap();
    }
    assert_eq!(world.repair(&flags).await, (Some(2), Vec::new()));

    for pod in &mut world.cluster.account {
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
    }
    let (code, lines) = world.repair(&flags).await;
    assert_eq!((code, &lines[0]["state"]), (Some(0), &"done".into()), "{lines:?}");
    world.clients = Clients::connect(&world.cluster).await.unwrap();
    assert_eq!(world.account(1).await.balance, "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_stays_locked_is_exit_code_2_in_time() {
    let world = World::start(Backend::Postgres).await;
    let mut holder = PgConnection::connect(&world.cluster.databases().account).await.unwrap();
    holder.execute("BEGIN; LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let output = world.run(&["--range-timeout=100ms"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot read postgres://") && said.contains("timeout"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_without_apply_changes_nothing_and_one_with_it_needs_no_second() {
    let world = World::start(Backend::Sqlite).await;
    world.open(1, "100").await;
    let (held, taken) = (order_id(), order_id());
    world.reserve(1, "10", &held).await;
    world.reserve(1, "20", &taken).await;
    world.capture(1, &taken).await;

    // Whose they are is not known, and callers may ask again.
    let states = |lines: &[serde_json::Value]| -> Vec<String> {
        lines.iter().map(|line| line["state"].as_str().unwrap().to_owned()).collect()
    };
    let (code, lines) = world.repair(&["--apply"]).await;
    assert_eq!((code, states(&lines)), (Some(1), vec!["by hand".into(), "by hand".into()]));
    let (code, lines) = world.repair(&["--apply", "--sole-caller", "--wait-for-retries=1h"]).await;
    assert_eq!((code, states(&lines)), (Some(0), vec!["waits".into(), "waits".into()]));
    let (code, lines) = world.repair(&["--sole-caller"]).await;
    assert_eq!((code, states(&lines)), (Some(1), vec!["planned".into(), "planned".into()]));
    assert_eq!(world.account(1).await.available, "70");

    let (code, lines) = world.repair(&["--sole-caller", "--apply"]).await;
    assert_eq!((code, states(&lines)), (Some(0), vec!["done".into(), "done".into()]));
    assert_eq!(
        (lines[0]["action"].as_str(), lines[1]["action"].as_str()),
        (Some("release"), Some("refund"))
    );
    assert_eq!(world.account(1).await.available, "100");
    assert_eq!(world.repair(&["--sole-caller", "--apply"]).await, (Some(0), Vec::new()));
    world.settled().await;
}
