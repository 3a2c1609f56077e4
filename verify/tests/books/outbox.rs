//! What the outbox says about a difference, also on the schema of the version before, which knows neither when a row was
//! written nor that it was refused.

use database::{DatabaseUrl, Postgres, Sqlite};
use sqlx::{AssertSqlSafe, ConnectOptions};

use super::support::{Backend, World, order_id};

/// The columns and the table that a later migration adds, where it has not been there yet.
const LATER: [(&str, &str); 3] = [
    ("ALTER TABLE outbox ADD COLUMN refused text", "ALTER TABLE outbox ADD COLUMN refused text"),
    (
        "ALTER TABLE outbox ADD COLUMN created_at timestamptz NOT NULL DEFAULT now()",
        "ALTER TABLE outbox ADD COLUMN created_at integer NOT NULL DEFAULT 4000000000000000",
    ),
    (
        "CREATE TABLE settlement_resolutions (account_id bigint NOT NULL, order_id uuid NOT NULL,
            action text NOT NULL, amount numeric(19, 4) NOT NULL, refused text NOT NULL,
            attempts integer NOT NULL, created_at timestamptz NOT NULL, note text NOT NULL,
            resolved_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (account_id, order_id, action))",
        "CREATE TABLE settlement_resolutions (account_id integer NOT NULL, order_id blob NOT NULL,
            action text NOT NULL, amount integer NOT NULL, refused text NOT NULL,
            attempts integer NOT NULL, created_at integer NOT NULL, note text NOT NULL,
            resolved_at integer NOT NULL, PRIMARY KEY (account_id, order_id, action))",
    ),
];

/// The order database, written as a test may.
struct Book(DatabaseUrl);

impl Book {
    async fn execute(&self, postgres: &str, sqlite: &str) -> sqlx::Result<()> {
        match &self.0 {
            DatabaseUrl::Postgres(address) => {
                let options = Postgres::options((**address).clone(), "tests");
                let mut connection = options.connect().await?;
                let statement = AssertSqlSafe(postgres.to_owned());
                sqlx::raw_sql(statement).execute(&mut connection).await.map(drop)
            }
            DatabaseUrl::Sqlite(path) => {
                let mut connection = Sqlite::options(path).connect().await?;
                let statement = AssertSqlSafe(sqlite.to_owned());
                sqlx::raw_sql(statement).execute(&mut connection).await.map(drop)
            }
        }
    }

    /// An outbox row that asks for a release.
    async fn release_waits(&self, id: &str) {
        let rest = "'RELEASE', 2, 0";
        let columns = "INSERT INTO outbox (account_id, order_id, action, amount, attempts, due_at)";
        let postgres = format!("{columns} VALUES (1, '{id}', {rest}, now() + interval '1 hour')");
        let sqlite = format!("{columns} VALUES (1, unhex('{id}', '-'), {rest}, 4000000000000000)");
        self.execute(&postgres, &sqlite).await.unwrap();
    }

    /// A release that people gave up.
    async fn release_resolved(&self, id: &str) {
        let columns = "INSERT INTO settlement_resolutions
            (account_id, order_id, action, amount, refused, attempts, created_at, note, resolved_at)";
        let rest = "'RELEASE', 2, 'RESERVATION_CAPTURED', 3";
        let postgres = format!("{columns} VALUES (1, '{id}', {rest}, now(), 'seen', now())");
        let sqlite = format!("{columns} VALUES (1, unhex('{id}', '-'), {rest}, 0, 'seen', 0)");
        self.execute(&postgres, &sqlite).await.unwrap();
    }
}

async fn the_outbox_excuses_what_it_can(backend: Backend) {
    let mut world = World::start(backend).await;
    world.open(1, "100").await;
    let (held, taken) = (order_id(), order_id());
    world.reserve(1, "2", &held).await;
    world.reserve(1, "3", &taken).await;
    world.capture(1, &taken).await;
    // The settler would do what the rows below ask for.
    for pod in &mut world.cluster.order {
        pod.kill().unwrap();
    }
    let book = Book(world.urls()[1].clone());
    let breaches = async || world.verify(&["--strict"]).await.1["breaches_total"].as_u64().unwrap();
    assert_eq!(breaches().await, 2);

    book.release_waits(&held).await;
    assert_eq!(breaches().await, 1, "a row that waits excuses what it is about to do");

    for (postgres, sqlite) in LATER {
        let _there_already = book.execute(postgres, sqlite).await;
    }
    assert_eq!(breaches().await, 1);
    let refuse = "UPDATE outbox SET refused = 'RESERVATION_CAPTURED'";
    book.execute(refuse, refuse).await.unwrap();
    assert_eq!(breaches().await, 2, "a refused row excuses nothing");

    book.release_resolved(&taken).await;
    assert_eq!(breaches().await, 1, "what people gave up is no breach");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_excuses_what_it_is_about_to_do_and_nothing_that_it_cannot_on_postgres() {
    the_outbox_excuses_what_it_can(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_excuses_what_it_is_about_to_do_and_nothing_that_it_cannot_on_sqlite() {
    the_outbox_excuses_what_it_can(Backend::Sqlite).await;
}
