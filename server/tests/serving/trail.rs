//! The audit trail of a running server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use server::{AuditLog, ServeConfig};
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Client, Pod, until};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn audited() -> (TempDir, PathBuf, ServeConfig) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let config = ServeConfig {
        audit_log: AuditLog::File(path.clone()),
        lame_duck: Duration::ZERO,
        ..ServeConfig::default()
    };
    (directory, path, config)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    // What comes after the last newline is being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Code and what the handler noted, in the order of the calls' ends.
fn ends(path: &Path) -> Vec<(String, Option<String>)> {
    let end = |line: Value| {
        let text = line["text"].as_str().map(str::to_owned);
        (line["code"].as_str().unwrap().to_owned(), text)
    };
    lines(path).into_iter().map(end).collect()
}

fn end(code: &str, text: &str) -> (String, Option<String>) {
    (code.to_owned(), Some(text.to_owned()))
}

#[tokio::test]
async fn a_line_says_who_called_what_and_what_its_handler_noted() {
    let (_directory, path, config) = audited();
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let forged = "x\"}\n{\"code\":\"OK\"";
    client.call("Do", forged, &[("traceparent", TRACE)]).await.unwrap();
    until("a line", async || lines(&path).len() == 1).await;

    let line = &lines(&path)[0];
    assert_eq!((&line["target"], &line["code"]), (&"audit".into(), &"OK".into()));
    assert_eq!(line["method"], "test.Probe/Do");
    assert_eq!(line["text"], forged);
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(line["took_us"].as_u64().is_some() && line["timestamp"].as_str().is_some(), "{line}");
}

#[tokio::test]
async fn whatever_ends_a_call_it_has_one_line_and_reads_have_none() {
    let (_directory, path, config) = audited();
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    assert_eq!(client.call("Do", "panic", &[]).await.unwrap().code, Code::Internal);
    let late = client.call("Do", "wait", &[("grpc-timeout", "50m")]).await.unwrap();
    assert_eq!(late.code, Code::DeadlineExceeded);
    let refused = client.call("Do", "never read", &[("grpc-timeout", "soon")]).await.unwrap();
    assert_eq!(refused.code, Code::InvalidArgument);
    client.call("Stream", "not audited", &[]).await.unwrap();
    client.call("/test.Probe/Guess", "not there", &[]).await.unwrap();

    pod.wait_running(0).await;
    let leaving = client.spawn("Do", "wait");
    pod.wait_running(1).await;
    leaving.abort();
    drop(client);
    until("the last line", async || lines(&path).len() >= 4).await;
    let expected = [
        end("INTERNAL", "panic"),
        end("DEADLINE_EXCEEDED", "wait"),
        ("INVALID_ARGUMENT".to_owned(), None),
        end("CANCELLED", "wait"),
    ];
    assert_eq!(ends(&path), expected);
}

#[tokio::test]
async fn a_server_that_left_has_written_all_its_lines() {
    let (_directory, path, config) = audited();
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let calls: Vec<_> = (0..50).map(|_| client.spawn("Do", "wait")).collect();
    pod.wait_running(50).await;
    pod.trigger.fire();
    pod.open_gate();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().code, Code::Ok);
    }
    drop(client);
    assert!(!pod.left(Duration::from_secs(20)).await.forced);
    assert_eq!(ends(&path), vec![end("OK", "wait"); 50]);
}

#[tokio::test]
async fn a_trail_that_cannot_be_opened_ends_the_start() {
    let config = ServeConfig {
        audit_log: AuditLog::File("/nowhere/audit.jsonl".into()),
        ..ServeConfig::default()
    };
    let refused = server::Server::new(config).bind().await.unwrap_err();
    assert!(refused.to_string().contains("/nowhere/audit.jsonl"), "{refused}");
}

#[tokio::test]
async fn a_method_that_no_service_has_cannot_be_audited() {
    let server = server::Server::new(ServeConfig::default()).audited(&["test.Probe/Undo"]);
    let refused = server.bind().await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no method test.Probe/Undo");
}
