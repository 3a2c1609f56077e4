//! A trail that nobody reads stops nothing, and is told of.

use std::process::Stdio;

use proto::account::v1::{ApplyRequest, Command, GetAccountRequest, OpenAccountRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::program::Serving;

/// More than the pipe, what waits and what is on its way can hold: 27 KiB a line.
const LINES: usize = 400;

async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_costs_lines_and_no_call() {
    let directory = tempfile::TempDir::new().unwrap();
    let url = format!("sqlite://{}/account.db", directory.path().display());
    // Held by the test, and never read.
    let (mut serving, admin) = Serving::with(&url, Stdio::piped()).await;
    let open = OpenAccountRequest { account_id: 1, ..OpenAccountRequest::default() };
    serving.client.open_account(open).await.unwrap();

    let ledger_id = String::new();
    let empty = ApplyRequest { ledger_id, commands: vec![Command::default(); 512] };
    for _ in 0..LINES {
        serving.client.apply(empty.clone()).await.unwrap();
    }
    let request = GetAccountRequest { account_id: 1 };
    serving.client.get_account(request).await.unwrap();

    let metrics = get(&admin, "/q/metrics").await;
    let lost = metrics.lines().find_map(|line| line.strip_prefix("audit_lines_lost_total "));
    let lost: f64 = lost.expect("the metric is there").parse().unwrap();
    assert!(lost > 0.0, "{metrics}");
    let ready = get(&admin, "/q/health/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains(&format!("{lost} lines were lost")), "{ready}");
    serving.kill().await;
}
