//! Redis over TLS: verified both ways, and used as soon as the files are right.

use proto::order::v1::PlaceOrderRequest;
use proto::order::v1::order_service_client::OrderServiceClient;
use tests::certificates::{Authority, replace};
use tests::cluster::{Pod, connect};
use tests::redis::{Redis, RedisTls};

use crate::support::{Files, account_pod, flags, log_of, until};

/// Asks for an order, so that the pod has a look at Redis. What is answered does not matter.
async fn ask(pod: &Pod, number: usize) {
    let request = PlaceOrderRequest {
        account_id: 1,
        idempotency_key: number.to_string(),
        amount: "1".to_owned(),
        ..PlaceOrderRequest::default()
    };
    let mut stub = OrderServiceClient::new(connect(pod).await.unwrap());
    let _declined = stub.place_order(request).await;
}

/// Asks until a look has this outcome.
async fn until_looks(pod: &Pod, outcome: &str) {
    let mut number = 0;
    until(outcome, async || {
        number += 1;
        ask(pod, number).await;
        pod.counter("order_guard_looks_total", &[("outcome", outcome)]).await >= 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_looked_at_over_tls_once_its_authority_is_trusted() {
    let files = Files::new();
    let pair = files.write("redis", &files.authority.issue(&["127.0.0.1"]));
    let redis = Redis::start_with_tls(RedisTls { pair, ca: files.ca.clone() }).await.unwrap();
    let client = files.write("client", &files.authority.issue(&["order-service"]));
    let trusted = files.text("trusted.pem", Authority::new().pem());

    let mut cluster = account_pod(Vec::new(), None).await;
    let tls = [
        ("--redis-tls-ca", &*trusted),
        ("--redis-tls-certificate", &*client.certificate),
        ("--redis-tls-key", &*client.key),
    ];
    let url = ["--redis-url".to_owned(), redis.url()];
    let pod = cluster.add_order_pod(&[flags(tls), url.to_vec()].concat()).unwrap();
    pod.wait_ready().await.unwrap();
    until_looks(pod, "skipped").await;
    let log = log_of(pod);
    assert!(log.contains("Redis does not answer") && log.contains("UnknownIssuer"), "{log}");
    assert_eq!(redis.size().await.unwrap(), 0);

    replace(&trusted, files.authority.pem()).unwrap();
    until_looks(pod, "first").await;
    assert!(redis.size().await.unwrap() >= 1);
}
