//! The database away: honest answers, and recovery without a restart.

use std::time::{Duration, Instant};

use database::{DatabaseUrl, Postgres};
use proto::{
    Failure, Reason,
    account::v1::{self as api, command::Command},
};
use tests::postgres::Postgres as Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    apply::apply,
    running::{Running, capture, open, reason, reserve},
    support::Fresh,
};

/// Longer than any recovery that is looked for here.
const PATIENCE: Duration = Duration::from_secs(60);

fn options(url: &str) -> database::PgOptions {
    let DatabaseUrl::Postgres(address) = url.parse().unwrap() else {
        unreachable!("the harness makes PostgreSQL addresses")
    };
    Postgres::options(*address, "account-service tests")
}

/// What the admin HTTP says.
pub(crate) async fn get<B: Fresh>(service: &Running<B>, path: &str) -> String {
    let mut stream = TcpStream::connect(service.admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until readiness answers with this status and text.
pub(crate) async fn wait_for<B: Fresh>(service: &Running<B>, status: &str, text: &str) {
    let began = Instant::now();
    loop {
        let answer = get(service, "/q/health/ready").await;
        if answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(text) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "readiness is not {status} {text:?}: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back_costs_no_restart() {
    let mut server = Server::start().await.unwrap();
    let url = server.create_database("account").await.unwrap();
    account_service::storage::Store::<Postgres>::new(options(&url)).migrate().await.unwrap();
    let mut service = Running::<Postgres>::on(options(&url)).await;
    wait_for(&service, "200", "").await;
    service.client.open_account(open(1, "10")).await.unwrap();
    let first = service.client.reserve(reserve(1, "r", "4")).await.unwrap().into_inner();

    server.kill().unwrap();
    let status = service.client.reserve(reserve(1, "s", "4")).await.unwrap_err();
    assert!([Reason::Unavailable, Reason::OutcomeUnknown].contains(&reason(&status)));
    let again = Failure::of(&status).unwrap();
    assert!(!format!("{again:?}").contains("127.0.0.1"), "an address leaks: {again:?}");
    let read = service.client.get_account(api::GetAccountRequest { account_id: 1 }).await;
    assert_eq!(reason(&read.unwrap_err()), Reason::Unavailable);
    // Many at once fail as a whole, so that the caller sends all of them again.
    let many =
        apply([Command::Reserve(reserve(1, "s", "4")), Command::Capture(capture(1, "r", ""))]);
    let status = service.client.apply(many).await.unwrap_err();
    assert_eq!(reason(&status), Reason::Unavailable);
    assert!(
        Failure::of(&status).is_some_and(|it| it != Failure::new(it.reason(), it.message())),
        "no RetryInfo: {status:?}"
    );
    wait_for(&service, "503", "database").await;

    server.start_again().await.unwrap();
    wait_for(&service, "200", "").await;
    let second = service.client.reserve(reserve(1, "s", "4")).await.unwrap().into_inner();
    assert_eq!(second.account.unwrap().available, "2");
    let replay = service.client.reserve(reserve(1, "r", "4")).await.unwrap().into_inner();
    assert!(replay.replayed);
    assert_eq!(replay.reservation, first.reservation);
    service.stop().await;
}

#[tokio::test]
async fn without_its_schema_the_service_is_not_ready_and_says_what_to_do() {
    let place = Postgres::empty().await;
    let mut service = Running::<Postgres>::on(place.options.clone()).await;
    wait_for(&service, "503", "account-service migrate").await;
    let status = service.client.open_account(open(1, "10")).await.unwrap_err();
    assert_eq!(reason(&status), Reason::Unavailable);
    place.store().migrate().await.unwrap();
    wait_for(&service, "200", "").await;
    service.client.open_account(open(1, "10")).await.unwrap();
    service.stop().await;
}
