//! One private PostgreSQL for all tests that run at the same time.
//!
//! Making one takes seconds, so tests that overlap share it, each with a database of its own. The last one to let go
//! stops it. It lives on a thread of its own, because the system ends it with the thread that started it, and a test's
//! thread ends with the test.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::{Mutex, oneshot};

use crate::HarnessError;
use crate::postgres::{Postgres, create_database};

static RUNNING: Mutex<Weak<Shared>> = Mutex::const_new(Weak::new());

/// A server in use.
#[derive(Debug)]
pub struct Shared {
    /// Up to the name of the database.
    base: String,
    made: AtomicU32,
    leave: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

/// The server that is running, or a new one.
///
/// # Panics
/// When PostgreSQL cannot be started: a test that needs it is never skipped.
pub async fn shared() -> Arc<Shared> {
    let mut running = RUNNING.lock().await;
    if let Some(shared) = running.upgrade() {
        return shared;
    }
    let (started, base) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    let keeper = std::thread::spawn(move || keep(started, left));
    let shared = Arc::new(Shared {
        base: base.await.expect("PostgreSQL starts; its keeper's panic says why not"),
        made: AtomicU32::new(0),
        leave: Some(leave),
        keeper: Some(keeper),
    });
    *running = Arc::downgrade(&shared);
    shared
}

impl Shared {
    /// Makes an empty database and answers its address.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_database(&self) -> Result<String, HarnessError> {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::Relaxed));
        create_database(&format!("{}postgres", self.base), &name).await?;
        Ok(format!("{}{name}", self.base))
    }
}

impl Shared {
    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port =
            self.base.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        port.expect("the harness makes addresses with a port")
    }

    /// Runs statements as the administrator, each by itself, on the server's own database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn administer(&self, statements: &[String]) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect(&format!("{}postgres", self.base)).await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await?;
        }
        connection.close().await
    }
}

/// The indexes of a database that sort text as its collation says, which changes with the system's library: a unique one
/// then lets duplicates in.
///
/// # Errors
/// When the database does not answer.
pub async fn indexes_by_collation(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let query = "
        SELECT DISTINCT i.indexrelid::regclass::text
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid, unnest(i.indcollation) AS sorted
        WHERE c.relnamespace = 'public'::regnamespace AND sorted NOT IN (0, '\"C\"'::regcollation)";
    sqlx::query_scalar(query).fetch_all(connection).await
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.leave.take());
        if let Some(keeper) = self.keeper.take() {
            keeper.join().expect("the keeper ends well");
        }
    }
}

/// Holds a server until everybody left.
fn keep(started: oneshot::Sender<String>, left: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async {
        let server = Postgres::start().await.unwrap_or_else(|error| panic!("{error}"));
        if started.send(server.url("")).is_ok() {
            // Ends when the sender is dropped, which is all that it is for.
            let _gone = left.await;
        }
    });
}
