//! What a database may be like and a service must say no to, or put up with.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, process::Command, time::Duration};

use database::{DatabaseUrl, PgOptions, Postgres, Reason, StoreError, Unfit, Unready};
use order_service::{
    order::decision::Verdict,
    storage::{Claimed, Store},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tests::{
    pgbouncer::{PgBouncer, PoolMode},
    postgres::Postgres as Server,
    shared_postgres::shared,
};
use tokio::time::Instant;

use crate::support::{Fresh, LONG, Place, amount, claim, currency, decide, new_claim};

fn store(url: &str) -> Store<Postgres> {
    Store::open(&url.parse().unwrap(), LONG, currency("USD")).unwrap()
}

fn options(url: &str) -> PgOptions {
    let DatabaseUrl::Postgres(address) = url.parse().unwrap() else {
        unreachable!("the harness makes PostgreSQL addresses")
    };
    Postgres::options(*address, "order-service tests")
}

async fn execute(url: &str, sql: impl Into<String>) {
    let mut connection = options(url).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut connection).await.unwrap();
}

fn url(place: &Place) -> String {
    place.url.to_string()
}

const NO_TODAY: &str = "
    DO $$ BEGIN
        EXECUTE format('DROP TABLE idempotency_keys_%s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'));
    END $$";

#[tokio::test]
async fn a_day_without_a_partition_is_unavailable_and_not_ready_until_room_is_made() {
    let place = Postgres::fresh().await;
    let mut store = place.store::<Postgres>(LONG);
    store.examine().await.unwrap();
    execute(&url(&place), NO_TODAY).await;
    let error = store.claim(&[new_claim(&amount(1, "k", "10"))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(error.reason(), Reason::NoPartition);
    assert!(matches!(store.examine().await, Err(Unready::Missing(_))));
    assert_eq!(store.days_ahead().await.unwrap(), Some(-1));

    store.make_room().await.unwrap();
    store.examine().await.unwrap();
    assert_eq!(store.days_ahead().await.unwrap(), Some(3));
    claim(&mut store, &amount(1, "k", "10")).await;
}

#[tokio::test]
async fn a_role_that_may_only_read_and_write_serves_and_says_that_it_cannot_make_room() {
    let place = Postgres::fresh().await;
    let owner = url(&place);
    let role = format!("scribe_of_{}", owner.rsplit('/').next().unwrap());
    execute(
        &owner,
        format!(
            "CREATE ROLE {role} LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        ),
    )
    .await;
    let mut scribe = store(&owner.replace("postgres@", &format!("{role}@")));
    scribe.examine().await.unwrap();
    let claimed = claim(&mut scribe, &amount(1, "k", "10")).await;
    decide(&mut scribe, &claimed, Verdict::Reserved).await;
    scribe.make_room().await.unwrap();

    execute(&owner, NO_TODAY).await;
    let error = scribe.make_room().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Privilege);
    execute(&owner, format!("REVOKE DELETE ON outbox FROM {role}")).await;
    store(&owner).make_room().await.unwrap();
    let lacking = Unready::Privilege("DELETE on outbox".into());
    assert_eq!(scribe.examine().await, Err(lacking));
    execute(&owner, format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

const FAR_AHEAD: &str = "
    DO $$ DECLARE last date := (now() AT TIME ZONE 'UTC')::date + 3; BEGIN
        EXECUTE format('DROP TABLE idempotency_keys_%s', to_char(last, 'YYYYMMDD'));
    END $$";

const LAST_WEEK: &str = "
    DO $$ DECLARE last date := (now() AT TIME ZONE 'UTC')::date - 7; BEGIN
        EXECUTE format(
            'CREATE TABLE idempotency_keys_%s PARTITION OF idempotency_keys FOR VALUES FROM (%L) TO (%L)',
            to_char(last, 'YYYYMMDD'), last, last + 1
        );
    END $$";

#[tokio::test]
async fn a_reader_of_the_key_table_keeps_no_partition_from_being_made_and_claims_wait_an_instant() {
    let place = Postgres::fresh().await;
    execute(&url(&place), format!("{FAR_AHEAD};{LAST_WEEK}")).await;
    let mut reader = options(&url(&place)).connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM idempotency_keys")
        .execute(&mut reader)
        .await
        .unwrap();

    let mut keeper = place.store::<Postgres>(LONG);
    keeper.make_room().await.unwrap();
    assert_eq!(keeper.days_ahead().await.unwrap(), Some(3));

    let mut claimer = place.store::<Postgres>(LONG);
    claim(&mut claimer, &amount(1, "first", "10")).await;
    let dropping = tokio::spawn(async move { keeper.keep_keys().await });
    let (began, mut longest) = (Instant::now(), Duration::ZERO);
    for turn in 0.. {
        let at = Instant::now();
        claim(&mut claimer, &amount(1, &format!("k{turn}"), "10")).await;
        longest = longest.max(at.elapsed());
        if dropping.is_finished() || began.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
    let error = dropping.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::Locked);
    assert!(longest < Duration::from_millis(600), "a claim waited {longest:?}");
}

#[tokio::test]
async fn behind_a_pooler_in_session_mode_everything_works() {
    let server = shared().await;
    let direct = server.create_database().await.unwrap();
    let name = direct.rsplit('/').next().unwrap();
    let pooler = PgBouncer::start(server.port(), PoolMode::Session).await.unwrap();
    let mut store = store(&pooler.url(name));
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
    for turn in 0..20 {
        let claimed = claim(&mut store, &amount(1, &format!("k{turn}"), "10")).await;
        decide(&mut store, &claimed, Verdict::Reserved).await;
    }
    assert!(store.verify().await.unwrap().is_empty());
}

#[tokio::test]
async fn behind_a_pooler_that_shares_connections_nothing_works_and_one_sentence_says_why() {
    let server = shared().await;
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        let direct = server.create_database().await.unwrap();
        let name = direct.rsplit('/').next().unwrap();
        let pooler = PgBouncer::start(server.port(), mode).await.unwrap();
        let pooled = pooler.url(name);
        let told = store(&pooled).migrate().await.unwrap_err().to_string();
        assert!(told.contains("set pool_mode = session"), "{mode:?}: {told}");
        // It left no lock behind.
        store(&direct).migrate().await.unwrap();
        let mut store = store(&pooled);
        assert_eq!(store.examine().await, Err(Unready::Away(Reason::Pooler)));
        let error = store.claim(&[new_claim(&amount(1, "k", "10"))]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_in_one_sentence() {
    let server = shared().await;
    let name = "in_latin1";
    let make = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    server.administer(&[make]).await.unwrap();
    let mut store = store(&format!("postgres://postgres@127.0.0.1:{}/{name}", server.port()));
    let told = store.migrate().await.unwrap_err().to_string();
    assert!(told.contains("the database's encoding is LATIN1, and must be UTF8"), "{told}");
    assert_eq!(store.examine().await, Err(Unready::Unfit(Unfit::Encoding("LATIN1".into()))));
    drop(store);
    server.administer(&[format!("DROP DATABASE {name} WITH (FORCE)")]).await.unwrap();
}

#[tokio::test]
async fn of_several_servers_the_one_that_takes_writes_is_used() {
    let primary = shared().await;
    let database = primary.create_database().await.unwrap();
    let name = database.rsplit('/').next().unwrap();
    let standby = Server::start_with(&["default_transaction_read_only=on"]).await.unwrap();
    let (there, here) = (standby.port(), primary.port());
    let mut connection = options(&standby.url("postgres")).connect().await.unwrap();
    for statement in ["SET default_transaction_read_only = off", &format!("CREATE DATABASE {name}")]
    {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }

    let both = format!(
        "postgres://postgres@127.0.0.1:{there},127.0.0.1:1,127.0.0.1:{here}/{name}?target_session_attrs=read-write"
    );
    let mut store = store(&both);
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
    claim(&mut store, &amount(1, "k", "10")).await;
    let alone = self::store(&standby.url(name)).examine().await;
    assert_eq!(alone, Err(Unready::Unfit(Unfit::ReadOnly)));
}

/// A server with a certificate for its own name alone, and the directory that keeps it.
async fn with_certificate(is_ca: IsCa) -> (Server, TempDir) {
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    certificate.is_ca = is_ca;
    let certificate = certificate.self_signed(&key).unwrap();
    let directory = TempDir::with_prefix("holdfast-certificate-").unwrap();
    let (public, private) = (directory.path().join("public"), directory.path().join("private"));
    std::fs::write(&public, certificate.pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
    // Where the tests run as root the server does not, and wants its key to be its own.
    let chown = Command::new("chown").args(["-R", "postgres"]).arg(directory.path()).status();
    let _ours_where_that_is_refused = chown.unwrap();

    let files = [
        format!("ssl_cert_file={}", public.display()),
        format!("ssl_key_file={}", private.display()),
    ];
    let server = Server::start_with(&["ssl=on", &files[0], &files[1]]).await.unwrap();
    (server, directory)
}

#[tokio::test]
async fn a_certificate_that_is_checked_may_be_its_own_issuer_but_no_ca_and_that_is_what_is_told() {
    for (is_ca, accepted) in
        [(IsCa::NoCa, true), (IsCa::Ca(BasicConstraints::Unconstrained), false)]
    {
        let (server, directory) = with_certificate(is_ca).await;
        let root = directory.path().join("public");
        let url =
            format!("{}?sslmode=verify-ca&sslrootcert={}", server.url("postgres"), root.display());
        let examined = store(&url).examine().await;
        let refused = examined == Err(Unready::Away(Reason::Tls));
        let reached = matches!(examined, Err(Unready::Schema { found: 0, .. }));
        assert_eq!((reached, refused), (accepted, !accepted), "{examined:?}");
    }
}

#[tokio::test]
async fn taken_is_what_a_key_is_in_a_partition_that_was_attached() {
    let place = Postgres::empty().await;
    let mut store = place.store::<Postgres>(LONG);
    store.migrate().await.unwrap();
    let request = amount(1, "k", "10");
    claim(&mut store, &request).await;
    let again = store.claim(&[new_claim(&request)]).await.unwrap().remove(0);
    assert_eq!(again, Claimed::Taken);
}
