//! Flags: all that is wrong is told at once, and no password with it.

use crate::program::run;

#[tokio::test]
async fn every_bad_setting_is_told_at_once_and_no_password_is_shown() {
    let output = run(&[
        "--database-url=postgres://me:s3cret@host:notaport/x",
        "--database-connections=2",
        "--default-currency=usd",
        "--default-hold-ttl=31d",
        "--sweep-interval=never",
        "--listen=nowhere",
        "--log-format=xml",
    ])
    .await;
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    for variable in [
        "DATABASE_URL",
        "DATABASE_CONNECTIONS",
        "DEFAULT_CURRENCY",
        "DEFAULT_HOLD_TTL",
        "SWEEP_INTERVAL",
        "LISTEN",
        "LOG_FORMAT",
    ] {
        assert!(told.contains(&format!("({variable})")), "{variable} is missing: {told}");
    }
    assert!(!told.contains("s3cret"), "{told}");
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_with_a_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let directory = tempfile::TempDir::new().unwrap();
    let url = format!("--database-url=sqlite://{}/new/a.db", directory.path().display());
    let output = run(&[&listen, "--admin-listen=127.0.0.1:0", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot serve: cannot listen on 127.0.0.1"), "{told}");
}
