//! The database says no: each refusal of a real server, and what callers, readiness and operators are told.

use std::time::{Duration, Instant};

use account_service::{
    desk,
    ledger::{Command, OpenAccount},
    storage::Store,
};
use database::{DatabaseUrl, PgOptions, Postgres};
use proto::{Money, id::AccountId};
use sqlx::AssertSqlSafe;
use tests::{postgres::Postgres as Server, shared_postgres::shared};
use tonic_types::StatusExt;

use crate::{
    outage::{get, wait_for},
    running::{Running, open},
};

/// A refusal that a server can be made to give.
struct Refusal {
    sqlstate: &'static str,
    /// What the metric calls it.
    reason: &'static str,
    /// What makes it refuse; DBNAME and CLERK are replaced.
    provoke: &'static [&'static str],
    heal: &'static [&'static str],
    /// What readiness says.
    told: &'static str,
}

/// Who is connected is sent away, so that the next connection meets what was changed.
const SEND_AWAY: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'DBNAME'";

const REFUSALS: &[Refusal] = &[
    Refusal {
        sqlstate: "55000",
        reason: "closed",
        provoke: &["ALTER DATABASE DBNAME ALLOW_CONNECTIONS false", SEND_AWAY],
        heal: &["ALTER DATABASE DBNAME ALLOW_CONNECTIONS true"],
        told: "the database takes no connections",
    },
    Refusal {
        sqlstate: "25006",
        reason: "read_only",
        provoke: &["ALTER DATABASE DBNAME SET default_transaction_read_only = on", SEND_AWAY],
        heal: &["ALTER DATABASE DBNAME RESET default_transaction_read_only", SEND_AWAY],
        told: "no server of the address takes writes",
    },
    Refusal {
        sqlstate: "28000",
        reason: "credentials",
        provoke: &["ALTER ROLE CLERK NOLOGIN", SEND_AWAY],
        heal: &["ALTER ROLE CLERK LOGIN"],
        told: "the database refuses this user",
    },
    Refusal {
        sqlstate: "53300",
        reason: "full",
        provoke: &["ALTER ROLE CLERK CONNECTION LIMIT 0", SEND_AWAY],
        heal: &["ALTER ROLE CLERK CONNECTION LIMIT -1"],
        told: "no disk, memory or connection left",
    },
    // Last: what was in it is gone.
    Refusal {
        sqlstate: "3D000",
        reason: "no_database",
        provoke: &["DROP DATABASE DBNAME WITH (FORCE)"],
        heal: &["CREATE DATABASE DBNAME"],
        told: "the database does not exist",
    },
];

/// Refusals that are made and ended inside the database, by its owner.
const INSIDE: &[Refusal] = &[
    Refusal {
        sqlstate: "42501",
        reason: "privilege",
        provoke: &["REVOKE INSERT ON accounts FROM CLERK"],
        heal: &["GRANT INSERT ON accounts TO CLERK"],
        told: "this role lacks a privilege: INSERT on accounts",
    },
    Refusal {
        sqlstate: "42P01",
        reason: "not_migrated",
        provoke: &["ALTER TABLE accounts RENAME TO elsewhere"],
        heal: &["ALTER TABLE elsewhere RENAME TO accounts"],
        told: "a table or column is missing",
    },
];

fn options(url: &str) -> PgOptions {
    let DatabaseUrl::Postgres(address) = url.parse().unwrap() else {
        unreachable!("the harness makes PostgreSQL addresses")
    };
    Postgres::options(*address, "account-service tests")
}

async fn execute(url: &str, statements: &[String]) {
    let mut connection = options(url).connect().await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await.unwrap();
    }
}

/// A call fails as a database that is away makes it fail, until it is healed.
async fn is_unavailable(service: &mut Running<Postgres>, account: i64, refusal: &Refusal) {
    let status = service.client.open_account(open(account, "10")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{}: {status:?}", refusal.sqlstate);
    assert!(status.get_details_retry_info().is_some(), "{}: {status:?}", refusal.sqlstate);
    wait_for(service, "503", refusal.told).await;
    let metrics = get(service, "/q/metrics").await;
    let counted = format!("database_errors_total{{work=\"apply\",reason=\"{}\"}}", refusal.reason);
    assert!(metrics.contains(&counted), "{counted} is missing");
}

#[tokio::test]
async fn whatever_refuses_in_the_environment_is_unavailable_not_ready_and_named_until_it_is_mended()
{
    let server = shared().await;
    let owner = server.create_database().await.unwrap();
    Store::<Postgres>::new(options(&owner)).migrate().await.unwrap();
    let name = owner.rsplit('/').next().unwrap().to_owned();
    let role = format!("clerk_of_{name}");
    let named = |statements: &[&str]| -> Vec<String> {
        statements
            .iter()
            .map(|text| text.replace("DBNAME", &name).replace("CLERK", &role))
            .collect()
    };
    let grant = named(&["GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO CLERK"]);
    server.administer(&[format!("CREATE ROLE {role} LOGIN")]).await.unwrap();
    execute(&owner, &grant).await;
    let clerk = owner.replace("postgres@", &format!("{role}@"));
    let mut service = Running::<Postgres>::on(options(&clerk)).await;
    wait_for(&service, "200", "").await;

    let mut account = 0;
    for (refusals, inside) in [(INSIDE, true), (REFUSALS, false)] {
        for refusal in refusals {
            account += 1;
            let (provoke, heal) = (named(refusal.provoke), named(refusal.heal));
            match inside {
                true => execute(&owner, &provoke).await,
                false => server.administer(&provoke).await.unwrap(),
            }
            is_unavailable(&mut service, account, refusal).await;
            match inside {
                true => execute(&owner, &heal).await,
                false => server.administer(&heal).await.unwrap(),
            }
            if refusal.sqlstate == "3D000" {
                Store::<Postgres>::new(options(&owner)).migrate().await.unwrap();
                execute(&owner, &grant).await;
                // The one that was made anew is another ledger, which this process must not go on with.
                wait_for(&service, "503", "was expected").await;
                continue;
            }
            wait_for(&service, "200", "").await;
            service.client.open_account(open(account, "10")).await.unwrap();
        }
    }
    service.stop().await;
    server
        .administer(&named(&["DROP DATABASE DBNAME WITH (FORCE)", "DROP ROLE CLERK"]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_whose_transaction_ids_are_used_up_is_unavailable_though_it_still_answers_reads() {
    let settings = ["wal_level=logical", "autovacuum=off"];
    let mut server = Server::start_with(&settings).await.unwrap();
    let url = server.create_database("account").await.unwrap();
    Store::<Postgres>::new(options(&url)).migrate().await.unwrap();
    server.use_up_transaction_ids("account").await.unwrap();
    let mut service = Running::<Postgres>::on(options(&url)).await;
    let told = "has reached a limit, such as its transaction ids";
    let refusal = Refusal { sqlstate: "54000", reason: "limit", provoke: &[], heal: &[], told };
    is_unavailable(&mut service, 1, &refusal).await;
    service.stop().await;
}

/// The first try of a batch meets a defect, each later one an environment that refuses; the account 1 makes the others wait
/// for it, so that they are one batch.
const FAILING: &str = "
    CREATE SEQUENCE tries;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.account_id = 1 THEN
            PERFORM pg_sleep(0.5);
            RETURN NEW;
        END IF;
        IF nextval('tries') = 1 THEN RAISE SQLSTATE '22000'; END IF;
        RAISE SQLSTATE '53100';
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION refuse()";

#[tokio::test]
async fn a_batch_that_is_run_again_one_by_one_stops_when_the_database_goes_away() {
    const COMMANDS: i64 = 40;
    let server = shared().await;
    let url = server.create_database().await.unwrap();
    let store = || Store::<Postgres>::new(options(&url));
    store().migrate().await.unwrap();
    execute(&url, &[FAILING.to_owned()]).await;
    let (desk, workers) = desk::open(database::Lineage::new(0), vec![store()], vec![store()]);
    let open = |id: i64| {
        let (desk, account_id) = (desk.clone(), AccountId::new(id).unwrap());
        let opening_balance = Money::parse("10").unwrap();
        let currency = proto::Currency::USD;
        let command = Command::Open(OpenAccount { account_id, currency, opening_balance });
        async move { desk.carry_out(command).await }
    };
    let first = tokio::spawn(open(1));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let others = futures_util::future::join_all((2..2 + COMMANDS).map(open)).await;
    first.await.unwrap().unwrap();
    assert!(others.iter().all(Result::is_err));
    let mut connection = options(&url).connect().await.unwrap();
    let tries: i64 = sqlx::query_scalar("SELECT last_value FROM tries")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(tries, 2, "once together, once alone, in {:?}", began.elapsed());
    workers.stop().await;
}
