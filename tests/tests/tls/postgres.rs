//! PostgreSQL over TLS: who is trusted, who is let in, and what is told where either fails.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Row};
use tests::certificates::Authority;
use tests::cluster::Databases;
use tests::postgres::Postgres;

use crate::support::{Files, account_pod};

/// Clients of these databases come over TLS, with a certificate in their user's name.
const RULES: &str = "
hostssl account,orders all 127.0.0.1/32 cert
host    account,orders all 127.0.0.1/32 reject
host    all            all 127.0.0.1/32 trust
";

/// A server that holds the rules above, with a certificate for the address it listens on.
async fn server(files: &Files) -> Postgres {
    let pair = files.write("postgres", &files.authority.issue(&["127.0.0.1"]));
    let rules = files.text("pg_hba.conf", RULES);
    std::fs::set_permissions(&pair.key, Permissions::from_mode(0o600)).unwrap();
    // Where the tests run as root the server does not, and wants its key to be its own.
    let chown = Command::new("chown").args(["-R", "postgres"]).arg(files.path()).status();
    let _ours_where_that_is_refused = chown.unwrap();

    let setting = |name: &str, path: &Path| format!("{name}={}", path.display());
    let settings = [
        "ssl=on".to_owned(),
        setting("ssl_cert_file", &pair.certificate),
        setting("ssl_key_file", &pair.key),
        setting("ssl_ca_file", &files.ca),
        setting("hba_file", &rules),
    ];
    Postgres::start_with(&settings.each_ref().map(String::as_str)).await.unwrap()
}

/// How a service reaches a database of this server.
fn url(server: &Postgres, database: &str, ca: &Path, files: &Files) -> String {
    let client = files.path().join("client");
    format!(
        "{}?sslmode=verify-full&sslrootcert={}&sslcert={client}.pem&sslkey={client}.key",
        server.url(database),
        ca.display(),
        client = client.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_used_over_verified_tls_and_another_authority_is_told_in_readiness() {
    let files = Files::new();
    files.write("client", &files.authority.issue(&["postgres"]));
    let stranger = files.text("stranger.pem", Authority::new().pem());
    let server = server(&files).await;
    server.create_database("account").await.unwrap();
    server.create_database("orders").await.unwrap();
    let good = |database: &str| url(&server, database, &files.ca, &files);
    let databases = Databases { account: good("account"), order: good("orders") };
    let mut cluster = account_pod(Vec::new(), Some(databases)).await;
    cluster.add_order_pod(&[]).unwrap().wait_ready().await.unwrap();

    let admin: PgConnectOptions = server.url("postgres").parse().unwrap();
    let sessions =
        "SELECT count(*) AS all, count(*) FILTER (WHERE ssl AND client_dn = '/CN=postgres') AS safe
        FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname IN ('account', 'orders')";
    let row = sqlx::query(sessions).fetch_one(&mut admin.connect().await.unwrap()).await.unwrap();
    let (all, safe): (i64, i64) = (row.get("all"), row.get("safe"));
    assert!(all >= 2 && safe == all, "{safe} of {all} sessions are safe");

    let pod = &mut cluster.account[0];
    pod.set_database(&url(&server, "account", &stranger, &files));
    pod.terminate();
    pod.wait_gone().unwrap();
    pod.restart().unwrap();
    let told = "TLS with the database failed: is its certificate trusted";
    pod.wait_health_says(told).await.unwrap();
    pod.wait_health(503).await.unwrap();
}
