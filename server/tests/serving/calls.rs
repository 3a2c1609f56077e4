//! What surrounds a call.

use std::time::Duration;

use server::ServeConfig;
use tonic::Code;

use crate::support::{Client, Pod, until};

#[tokio::test]
async fn a_call_is_answered_and_counted_by_method_and_code() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Do", "hello", &[]).await.unwrap();
    assert_eq!((ended.code, ended.answers()), (Code::Ok, vec!["hello".to_owned()]));
    let counted =
        "grpc_server_call_duration_seconds_count{grpc_method=\"test.Probe/Do\",grpc_status=\"OK\"}";
    let (status, metrics) = pod.get("/q/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_made_up_method_is_unimplemented_and_adds_no_label() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    for path in ["/test.Probe/Guess", "/no.Service/Guess"] {
        assert_eq!(client.call(path, "", &[]).await.unwrap().code, Code::Unimplemented);
    }
    let (_, metrics) = pod.get("/q/metrics").await;
    assert!(!metrics.contains("Guess"), "{metrics}");
    assert!(metrics.contains("grpc_method=\"other\",grpc_status=\"UNIMPLEMENTED\""), "{metrics}");
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_goes_on() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Do", "panic", &[]).await.unwrap();
    assert_eq!((ended.code, ended.message.as_str()), (Code::Internal, "internal error"));
    let streamed = client.call("Stream", "panic", &[]).await.unwrap();
    assert_eq!(streamed.code, Code::Internal);
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
    let (_, metrics) = pod.get("/q/metrics").await;
    assert!(metrics.contains("grpc_server_panics_total 2"), "{metrics}");
}

#[tokio::test]
async fn the_deadline_ends_the_handler_and_is_told_to_the_caller() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Do", "wait", &[("grpc-timeout", "50m")]).await.unwrap();
    assert_eq!(ended.code, Code::DeadlineExceeded);
    pod.wait_running(0).await;
}

#[tokio::test]
async fn the_deadline_covers_the_body_of_a_stream() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Stream", "wait", &[("grpc-timeout", "50m")]).await.unwrap();
    assert_eq!(ended.code, Code::DeadlineExceeded);
    assert_eq!(ended.answers(), ["first"]);
    pod.wait_running(0).await;
}

#[tokio::test]
async fn a_handler_can_read_its_deadline_and_unary_calls_always_have_one() {
    let config = ServeConfig { default_deadline: Duration::from_secs(7), ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let left_ms = async |method: &str, headers: &[(&'static str, &str)]| {
        let ended = client.call(method, "deadline", headers).await.unwrap();
        ended.answers().last().unwrap().parse::<u64>().ok()
    };
    assert!((50_000..=60_000).contains(&left_ms("Do", &[("grpc-timeout", "1M")]).await.unwrap()));
    assert!((6_000..=7_000).contains(&left_ms("Do", &[]).await.unwrap()));
    assert_eq!(left_ms("Stream", &[]).await, None);
}

#[tokio::test]
async fn a_malformed_deadline_is_refused() {
    let pod = Pod::start(ServeConfig::default()).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Do", "hello", &[("grpc-timeout", "soon")]).await.unwrap();
    assert_eq!(ended.code, Code::InvalidArgument);
    assert!(ended.message.contains("grpc-timeout"), "{}", ended.message);
}

#[tokio::test]
async fn a_full_server_refuses_with_pushback_yet_answers_health() {
    let config = ServeConfig { max_in_flight: 1, ..ServeConfig::default() };
    let pushback_ms = u64::try_from(config.pushback.as_millis()).unwrap();
    let pod = Pod::start(config).await;
    pod.wait_ready(200).await;
    let client = Client::connect(pod.address).await;
    let first = client.spawn("Do", "wait");
    pod.wait_running(1).await;

    let refused = client.call("Do", "hello", &[]).await.unwrap();
    assert_eq!(refused.code, Code::ResourceExhausted);
    let told: u64 = refused.headers["grpc-retry-pushback-ms"].to_str().unwrap().parse().unwrap();
    assert!((pushback_ms..=2 * pushback_ms).contains(&told), "{told}");
    let health = client.call("/grpc.health.v1.Health/Check", "", &[]).await.unwrap();
    assert_eq!(health.code, Code::Ok);

    pod.open_gate();
    assert_eq!(first.await.unwrap().unwrap().code, Code::Ok);
    assert_eq!(client.call("Do", "hello", &[]).await.unwrap().code, Code::Ok);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_goes_on() {
    let config = ServeConfig { max_message_bytes: 1_024, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let ended = client.call("Do", &"x".repeat(2_000), &[]).await.unwrap();
    assert_eq!(ended.code, Code::ResourceExhausted);
    assert!(ended.message.contains("1024"), "{}", ended.message);
    assert_eq!(client.call("Do", &"x".repeat(1_000), &[]).await.unwrap().code, Code::Ok);
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_its_place() {
    let config = ServeConfig { max_in_flight: 1, ..ServeConfig::default() };
    let pod = Pod::start(config).await;
    let client = Client::connect(pod.address).await;
    let call = client.spawn("Do", "wait");
    pod.wait_running(1).await;
    call.abort();
    pod.wait_running(0).await;
    until("the place is free", async || {
        client.call("Do", "hello", &[]).await.unwrap().code == Code::Ok
    })
    .await;
}
