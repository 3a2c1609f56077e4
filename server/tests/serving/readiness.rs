//! One state, told over HTTP and gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use server::ServeConfig;
use tonic::Code;

use crate::support::{Client, Pod};

#[tokio::test]
async fn a_failing_check_turns_readiness_false_after_the_grace_and_liveness_never() {
    let config = ServeConfig {
        readiness_interval: Duration::from_millis(20),
        readiness_grace: Duration::from_millis(100),
        ..ServeConfig::default()
    };
    let away = Arc::new(AtomicBool::new(true));
    let pod = Pod::start_checked(config, {
        let away = away.clone();
        move || {
            let away = away.load(Ordering::SeqCst);
            async move { if away { Err("connection refused".to_owned()) } else { Ok(()) } }
        }
    })
    .await;
    assert_eq!(pod.get("/q/health/started").await.0, 503);
    away.store(false, Ordering::SeqCst);
    pod.wait_ready(200).await;
    assert_eq!(pod.get("/q/health/started").await.0, 200);

    away.store(true, Ordering::SeqCst);
    pod.wait_ready(503).await;
    let (_, body) = pod.get("/q/health/ready").await;
    let why = r#"{"status":"DOWN","checks":[{"name":"serving","status":"DOWN","data":{"why":"checks fail"}},{"name":"database","status":"DOWN","data":{"why":"connection refused"}},"#;
    assert!(body.starts_with(why), "{body}");
    // Without callers' identities it serves this host alone, and says so without being less ready for it.
    assert!(body.contains(r#"{"name":"exposure","status":"UP","data":{"why":"gRPC on 127.0.0.1"#));
    assert_eq!(pod.get("/q/health/live").await.0, 200);
    assert_eq!(pod.get("/q/health/started").await.0, 200);
    away.store(false, Ordering::SeqCst);
    pod.wait_ready(200).await;
}

#[tokio::test]
async fn grpc_health_knows_the_server_and_each_service_and_no_other() {
    let pod = Pod::start(ServeConfig::default()).await;
    pod.wait_ready(200).await;
    let client = Client::connect(pod.address).await;
    let code = async |service: &str| {
        client.call("/grpc.health.v1.Health/Check", service, &[]).await.unwrap().code
    };
    assert_eq!(code("").await, Code::Ok);
    assert_eq!(code("test.Probe").await, Code::Ok);
    assert_eq!(code("test.Nobody").await, Code::NotFound);
}

#[tokio::test]
async fn the_admin_http_names_its_pages_and_takes_only_get() {
    let pod = Pod::start(ServeConfig::default()).await;
    let (status, body) = pod.get("/").await;
    assert_eq!(status, 404);
    assert!(body.contains("/q/health/ready") || body.contains("/q/health/live"), "{body}");
}
