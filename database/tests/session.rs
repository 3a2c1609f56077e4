//! Sessions on a real SQLite file: what is run again, what is not, and what becomes of the connection.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

use std::{path::Path, time::Duration};

use database::{Reason, Session, Sqlite, StoreError, Transaction};
use sqlx::{Row, SqliteConnection};
use tempfile::TempDir;

/// What a [`Script`] does at each attempt.
type Step = &'static str;

/// Runs one statement an attempt, the last one for ever, and counts the attempts.
struct Script {
    steps: &'static [Step],
    attempts: usize,
}

impl Script {
    fn of(steps: &'static [Step]) -> Self {
        Self { steps, attempts: 0 }
    }
}

impl Transaction<Sqlite> for Script {
    const NAME: &'static str = "script";
    type Output = ();

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        let step = self.steps[self.attempts.min(self.steps.len() - 1)];
        self.attempts += 1;
        sqlx::query("INSERT INTO t VALUES (99)").execute(&mut *connection).await?;
        if step == "panic" {
            panic!("the work gave up");
        }
        if step == "hang" {
            std::future::pending::<()>().await;
        }
        sqlx::query(step).execute(connection).await.map(drop)
    }
}

struct Count;

impl Transaction<Sqlite> for Count {
    const NAME: &'static str = "count";
    type Output = i64;

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<i64> {
        let row = sqlx::query("SELECT count(*) AS n FROM t").fetch_one(connection).await?;
        row.try_get("n")
    }
}

struct Create;

impl Transaction<Sqlite> for Create {
    const NAME: &'static str = "create";
    type Output = ();

    async fn run(&mut self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        sqlx::raw_sql(
            "CREATE TABLE t (n); CREATE TABLE u (n PRIMARY KEY); INSERT INTO u VALUES (1)",
        )
        .execute(connection)
        .await
        .map(drop)
    }
}

fn session(path: &Path) -> Session<Sqlite> {
    Session::new(Sqlite::options(path))
}

async fn fresh() -> (TempDir, Session<Sqlite>) {
    let directory = tempfile::tempdir().unwrap();
    let mut session = session(&directory.path().join("t.db"));
    session.transact(&mut Create).await.unwrap();
    (directory, session)
}

const FINE: Step = "INSERT INTO t VALUES (1)";
const CONFLICT: Step = "INSERT INTO u VALUES (1)";
const DEFECT: Step = "INSERT INTO t VALUES (1, 2)";
const NOT_MIGRATED: Step = "INSERT INTO nowhere VALUES (1)";

#[tokio::test]
async fn a_conflict_is_rolled_back_and_run_again() {
    let (_directory, mut session) = fresh().await;
    let mut script = Script::of(&[CONFLICT, CONFLICT, FINE]);
    session.transact(&mut script).await.unwrap();
    assert_eq!(script.attempts, 3);
    assert_eq!(session.read(&mut Count).await.unwrap(), 2);
}

#[tokio::test]
async fn a_conflict_that_stays_is_given_up_after_a_bounded_number_of_attempts() {
    let (_directory, mut session) = fresh().await;
    let mut script = Script::of(&[CONFLICT]);
    let error = session.transact(&mut script).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(script.attempts, 4);
    assert_eq!(session.read(&mut Count).await.unwrap(), 0);
}

#[tokio::test]
async fn a_defect_is_not_run_again_and_writes_nothing() {
    let (_directory, mut session) = fresh().await;
    let mut script = Script::of(&[DEFECT]);
    let error = session.transact(&mut script).await.unwrap_err();
    assert!(matches!(error, StoreError::Failed(_)), "{error:?}");
    assert_eq!(script.attempts, 1);
    assert_eq!(session.read(&mut Count).await.unwrap(), 0);
}

#[tokio::test]
async fn a_table_that_is_not_there_yet_is_no_defect() {
    let (_directory, mut session) = fresh().await;
    let error = session.transact(&mut Script::of(&[NOT_MIGRATED])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(error.reason(), Reason::NotMigrated);
}

#[tokio::test]
async fn work_that_panics_leaves_no_open_transaction_behind() {
    let (directory, session_of_worker) = fresh().await;
    let panicked = tokio::spawn(async move {
        let mut session = session_of_worker;
        session.transact(&mut Script::of(&["panic"])).await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let mut other = session(&directory.path().join("t.db"));
    other.transact(&mut Script::of(&[FINE])).await.unwrap();
    assert_eq!(other.read(&mut Count).await.unwrap(), 2);
}

#[tokio::test]
async fn work_that_hangs_is_ended_and_its_connection_thrown_away() {
    let (_directory, session) = fresh().await;
    let mut session = session.patient(Duration::from_millis(100));
    let mut script = Script::of(&["hang", FINE]);
    session.transact(&mut script).await.unwrap();
    assert_eq!(script.attempts, 2);
    assert_eq!(session.read(&mut Count).await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_is_unavailable_and_found_again_later() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("later");
    let mut session = session(&folder.join("t.db"));
    let error = session.read(&mut Count).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    std::fs::create_dir(&folder).unwrap();
    session.transact(&mut Create).await.unwrap();
    assert_eq!(session.read(&mut Count).await.unwrap(), 0);
}

#[tokio::test]
async fn a_statement_whose_connection_broke_may_have_taken_effect_and_a_read_may_not() {
    let (_directory, session) = fresh().await;
    let mut session = session.patient(Duration::from_millis(50));
    let error = session.statement(&mut Script::of(&["hang"])).await.unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error:?}");
    let error = session.read(&mut Script::of(&["hang"])).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}
