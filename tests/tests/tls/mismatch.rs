//! A pair whose settings contradict each other: the order pod's readiness says what does, and both sides log it.

use std::path::Path;
use std::time::{Duration, Instant};

use tests::certificates::Authority;
use tests::cluster::Pod;

use crate::support::{Files, NAMES, account_pod, flags, log_of, serve, show, until};

/// From the start of an order pod to the reason in its readiness; the machine may be busy.
const SOON: Duration = Duration::from_secs(10);

/// Waits until readiness of the ledger says this, and looks for the same in the log, with the endpoint.
async fn check_says(pod: &mut Pod, words: &str, endpoint: &str) {
    let said = pod.wait_health_says(words).await.unwrap();
    assert!(said.contains("the account service cannot be used"), "{said}");
    assert!(said.contains(endpoint), "{said}");
    pod.wait_health(503).await.unwrap();
    let log = log_of(pod);
    let line = log.lines().find(|line| line.contains("WARN") && line.contains("connecting failed"));
    let line = line.unwrap_or_else(|| panic!("no warning in:\n{log}"));
    assert!(line.contains(endpoint) && line.contains(words), "{line}");
}

/// The account pod counted this reason and logged it with the peer.
async fn check_noticed(pod: &Pod, reason: &str) {
    let failed = "grpc_server_handshakes_failed_total";
    until(reason, async || pod.counter(failed, &[("reason", reason)]).await >= 1.0).await;
    let log = log_of(pod);
    let words = format!("reason=\"{reason}\"");
    let line = log.lines().find(|line| line.contains("WARN") && line.contains(&words));
    let line = line.unwrap_or_else(|| panic!("no {words} in:\n{log}"));
    assert!(line.contains("handshake failed") && line.contains("peer=127.0.0.1:"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_pod_that_a_mutual_tls_pod_cannot_talk_to_says_why_and_is_ready_once_that_is_mended()
 {
    let (files, stranger) = (Files::new(), Authority::new());
    let issue = |name: &str| files.authority.issue(&[name]);
    let (good, revoked) = (issue("order-service"), issue("revoked"));
    let server = files.write("server", &files.authority.issue(&NAMES));
    let crl = files.text("crl.pem", &files.authority.revoke(&[&revoked]));
    let mutual = [("--tls-client-ca", &*files.ca), ("--tls-client-crl", &*crl)];
    let mut cluster = account_pod(flags(serve(&server).into_iter().chain(mutual)), None).await;
    let endpoint = cluster.account[0].address().to_string();

    let good = files.write("good", &good);
    let revoked = files.write("revoked", &revoked);
    let expired = files.write("expired", &files.authority.issue_expired(&["order-service"]));
    let foreign = files.write("foreign", &stranger.issue(&["order-service"]));
    let wrong_ca = files.text("wrong-ca.pem", stranger.pem());
    let ca = ("--account-tls-ca", &*files.ca);
    let with = |pair| show(pair).into_iter().chain([ca]).collect::<Vec<(&str, &Path)>>();
    let name = ("--account-tls-server-name", Path::new("accounts.example"));
    let wrong_name = with(&good).into_iter().chain([name]).collect();
    let cases = [
        (vec![], "it speaks TLS, and this channel does not", "plaintext_to_tls"),
        (vec![ca], "it refuses our certificate: there is none", "certificate_missing"),
        (with(&revoked), "it refuses our certificate: it is revoked", "certificate_revoked"),
        (with(&expired), "it refuses our certificate: it has expired", "certificate_expired"),
        (with(&foreign), "its issuer is not trusted there", "certificate_of_unknown_issuer"),
        (vec![("--account-tls-ca", &*wrong_ca)], "UnknownIssuer", "client_refuses_certificate"),
        (wrong_name, "not valid for name \\\"accounts.example\\\"", "client_refuses_certificate"),
    ];

    let began = Instant::now();
    for (given, _, _) in &cases {
        cluster.add_order_pod(&flags(given.iter().copied())).unwrap();
    }
    cluster.add_order_pod(&flags(with(&good))).unwrap().wait_ready().await.unwrap();
    for ((_, words, reason), pod) in cases.iter().zip(&mut cluster.order) {
        // JSON escapes what logs do not.
        let said = pod.wait_health_says(words).await.unwrap();
        assert!(said.contains("the account service cannot be used"), "{said}");
        check_says(pod, words.split('\\').next().unwrap(), &endpoint).await;
        check_noticed(&cluster.account[0], reason).await;
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    files.text("wrong-ca.pem", files.authority.pem());
    files.text("crl.pem", &files.authority.revoke(&[]));
    let untrusting = &mut cluster.order[5];
    let missing = "it refuses our certificate: there is none";
    untrusting.wait_health_says(missing).await.unwrap();
    cluster.order[2].wait_ready().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_plaintext_pod_is_told_on_both_sides() {
    let files = Files::new();
    let mut cluster = account_pod(Vec::new(), None).await;
    let endpoint = cluster.account[0].address().to_string();
    let pod = cluster.add_order_pod(&flags([("--account-tls-ca", &*files.ca)])).unwrap();
    check_says(pod, "it answers in plaintext, and this channel speaks TLS", &endpoint).await;
    check_noticed(&cluster.account[0], "tls_to_plaintext").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_server_is_told_on_both_sides_and_used_again_once_its_certificate_is_renewed() {
    let files = Files::new();
    let server = files.write("server", &files.authority.issue_expired(&NAMES));
    let mut cluster = account_pod(flags(serve(&server)), None).await;
    let endpoint = cluster.account[0].address().to_string();
    cluster.add_order_pod(&flags([("--account-tls-ca", &*files.ca)])).unwrap();
    check_says(&mut cluster.order[0], "certificate expired", &endpoint).await;
    check_noticed(&cluster.account[0], "client_refuses_certificate").await;
    let log = log_of(&cluster.account[0]);
    assert!(log.contains("server.pem is valid from") && log.contains("and not now"), "{log}");

    files.write("server", &files.authority.issue(&NAMES));
    cluster.order[0].wait_ready().await.unwrap();
    let log = log_of(&cluster.order[0]);
    assert!(log.contains("endpoint can be reached again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_pod_that_is_not_there_is_a_warning_with_its_address_and_no_reason_to_be_down() {
    let mut cluster = account_pod(Vec::new(), None).await;
    let nobody = ["--account-target", "static:///127.0.0.1:1"].map(str::to_owned);
    let pod = cluster.add_order_pod(&nobody).unwrap();
    pod.wait_ready().await.unwrap();
    let log = log_of(pod);
    let is_told = |line: &&str| line.contains("WARN") && line.contains("connecting failed");
    let line = log.lines().find(is_told).unwrap_or_else(|| panic!("no warning in:\n{log}"));
    assert!(line.contains("127.0.0.1:1") && line.contains("refused"), "{line}");
}
