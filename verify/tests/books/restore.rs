//! One of the two databases goes back in time, and `--repair --apply` brings the books together again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tests::clients::Clients;
use tests::cluster::Service;
use tests::postgres::{Postgres, create_database, drop_database};

use super::support::{Backend, World, until};
use super::traffic::{Kind, Traffic, check_balances};

/// Traffic before the backup is taken, and after it: what the restore loses.
const BEFORE: Duration = Duration::from_secs(2);
const LOST: Duration = Duration::from_secs(2);

/// Which database goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Account,
    Order,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Order => "orders",
        }
    }

    fn url(self, world: &World) -> String {
        let databases = world.cluster.databases();
        match self {
            Self::Account => databases.account.clone(),
            Self::Order => databases.order.clone(),
        }
    }
}

/// A backup as each kind of database has it.
async fn back_up(world: &World, which: Which, file: &Path) {
    match &world.postgres {
        Some(server) => {
            let mut dump = Command::new(server.program("pg_dump"));
            dump.args(["--format=custom", "--file"]).arg(file).arg(which.url(world));
            done(dump).await;
        }
        None => {
            let path = which.url(world).replace("sqlite://", "");
            let into = format!("VACUUM INTO '{}'", file.display());
            let mut connection = sqlite(&path).await;
            sqlx::raw_sql(AssertSqlSafe(into)).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// The database must not be in use.
async fn restore(world: &World, which: Which, file: &Path) {
    match &world.postgres {
        Some(server) => {
            let maintenance = server.url("postgres");
            drop_database(&maintenance, which.name()).await.unwrap();
            create_database(&maintenance, which.name()).await.unwrap();
            pg_restore(server, which, file).await;
        }
        None => {
            let path = which.url(world).replace("sqlite://", "");
            for suffix in ["-wal", "-shm"] {
                drop(std::fs::remove_file(format!("{path}{suffix}")));
            }
            std::fs::copy(file, &path).unwrap();
        }
    }
}

async fn pg_restore(server: &Postgres, which: Which, file: &Path) {
    let mut restore = Command::new(server.program("pg_restore"));
    restore.args(["--exit-on-error", "--dbname", &server.url(which.name())]).arg(file);
    done(restore).await;
}

async fn done(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
}

async fn sqlite(path: &str) -> SqliteConnection {
    database::Sqlite::options(Path::new(path)).connect().await.unwrap()
}

/// Kills all pods, brings the backup back, accepts that what came after it is gone, and starts them again.
async fn go_back(world: &mut World, which: Which, file: &Path) {
    let cluster = &mut world.cluster;
    for pod in cluster.order.iter_mut().chain(&mut cluster.account) {
        pod.kill().unwrap();
    }
    restore(world, which, file).await;
    let databases = world.cluster.databases();
    let (service, url) = match which {
        Which::Account => (Service::Account, &databases.account),
        Which::Order => (Service::Order, &databases.order),
    };
    world.cluster.binaries().resume(service, url).unwrap();
    for pods in [&mut world.cluster.account, &mut world.cluster.order] {
        for pod in pods {
            pod.restart().unwrap();
            pod.wait_ready().await.unwrap();
        }
    }
    world.clients = Clients::connect(&world.cluster).await.unwrap();
}

async fn one_database_goes_back(backend: Backend, which: Which) {
    let mut world = World::start(backend).await;
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("backup");
    let traffic = Traffic::start(&world, Kind::Orders).await;
    tokio::time::sleep(BEFORE).await;
    back_up(&world, which, &file).await;
    tokio::time::sleep(LOST).await;
    go_back(&mut world, which, &file).await;
    traffic.stop().await;

    let (code, report) = world.verify(&[]).await;
    assert_eq!(code, Some(1), "nothing was lost: {report}");
    repair(&world).await;
    world.settled().await;
    world.retry_refused().await;
    check_balances(&world).await;
    world.cluster.stop().unwrap();
    world.cluster.verify().unwrap();
}

/// As the runbook has it: look, apply, and again until nothing is left.
async fn repair(world: &World) {
    let flags = ["--sole-caller"];
    let (code, planned) = world.repair(&flags).await;
    assert_eq!(code, Some(1));
    assert!(planned.iter().any(|line| line["state"] == "planned"), "{planned:?}");
    until("nothing more to repair", async || {
        let (code, lines) = world.repair(&[&flags[..], &["--apply"]].concat()).await;
        let refused = lines.iter().find(|line| ["by hand", "refused"].contains(&state(line)));
        assert_eq!((code, refused), (Some(0), None));
        lines.is_empty()
    })
    .await;
}

fn state(line: &serde_json::Value) -> &str {
    line["state"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_database_that_went_back_on_postgres_is_brought_together_with_the_ledger() {
    one_database_goes_back(Backend::Postgres, Which::Order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_database_that_went_back_on_sqlite_is_brought_together_with_the_ledger() {
    one_database_goes_back(Backend::Sqlite, Which::Order).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_database_that_went_back_on_postgres_is_brought_together_with_the_orders() {
    one_database_goes_back(Backend::Postgres, Which::Account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_database_that_went_back_on_sqlite_is_brought_together_with_the_orders() {
    one_database_goes_back(Backend::Sqlite, Which::Account).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_paid_again_is_said_and_paid_after_a_deposit() {
    let mut world = World::start(Backend::Sqlite).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("backup");
    world.open(1, "0").await;
    back_up(&world, Which::Account, &file).await;
    world.deposit(1, "30", "lost").await;
    world.place(1, "key", "30").await;
    world.settled().await;
    go_back(&mut world, Which::Account, &file).await;

    for _ in 0..2 {
        let (code, lines) = world.repair(&["--apply"]).await;
        assert_eq!((code, lines.len(), state(&lines[0])), (Some(1), 1, "refused"), "{lines:?}");
        assert_eq!(lines[0]["refused"], "unpayable: 0 is available");
    }
    world.deposit(1, "30", "lost").await;
    let (code, lines) = world.repair(&["--apply"]).await;
    assert_eq!((code, state(&lines[0])), (Some(0), "done"), "{lines:?}");
    assert_eq!(world.account(1).await.balance, "0");
    world.settled().await;
}
