//! Targets and service configs, as nobody would write them.

use client::{Channel, ServiceConfig};
use fuzz::Fuzz;

const CONFIGS: [&str; 5] = [
    r#"{"methodConfig": [{"name": [{"service": "a.B", "method": "C"}], "idempotent": true, "timeout": "5.5s",
        "waitForReady": true, "maxRequestMessageBytes": 7, "maxResponseMessageBytes": "8",
        "retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", 14], "perAttemptRecvTimeout": "2s"}}]}"#,
    r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 4, "hedgingDelay": "0.5s",
        "nonFatalStatusCodes": ["ABORTED"]}}], "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}}"#,
    r#"{"loadBalancingConfig": [{"unknown": {}}, {"round_robin": {}}], "healthCheckConfig": {"serviceName": "a"}}"#,
    r#"{"loadBalancingConfig": [{"outlier_detection_experimental": {"interval": "1s", "baseEjectionTime": "30s",
        "maxEjectionTime": "300s", "maxEjectionPercent": 50, "consecutiveFailures": 5,
        "successRateEjection": {"stdevFactor": 1900, "enforcementPercentage": 100, "minimumHosts": 5},
        "failurePercentageEjection": {"threshold": 85}, "childPolicy": [{"pick_first": {}}]}}]}"#,
    "{}",
];

const WORDS: [&str; 19] = [
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"\"",
    "\"-0.1s\"",
    "\"315576000001s\"",
    "\"1s\"",
    "0.0",
    "[]",
    "{}",
    "[[[[",
    "\\u0000",
    "true",
    "\"OK\"",
    "\"retryPolicy\":",
    "\"name\":",
    "NaN",
    "\"least_request\"",
];

#[test]
fn every_text_is_a_service_config_or_all_its_problems_have_a_place() {
    Fuzz::new("service config", CONFIGS).dictionary(WORDS).run_text(|text| {
        match ServiceConfig::parse(text) {
            Ok(_) => String::new(),
            Err(problems) => {
                let told = problems.to_string();
                assert!(!told.is_empty());
                // Numbers of lines and columns are no new outcome.
                told.chars().filter(|c| !c.is_ascii_digit()).take(200).collect()
            }
        }
    });
}

const TARGETS: [&str; 10] = [
    "dns:///accounts:50051",
    "dns://127.0.0.1:53/accounts:50051",
    "static:///a:1,[::1]:2,127.0.0.1:3",
    "unix:/run/a.sock",
    "unix:///run/a.sock",
    "https://accounts:443",
    "http://[::1]:80/",
    "accounts:50051",
    "accounts",
    "xds:///a",
];

const WORDS_OF_TARGETS: [&str; 12] = [
    "dns:", "static:", "unix:", "http://", "https://", "://", "[", "]", "::1", ":65536", ":0", "%",
];

#[tokio::test]
async fn every_text_is_a_target_or_is_refused() {
    Fuzz::new("target", TARGETS).dictionary(WORDS_OF_TARGETS).run_text(|text| {
        match Channel::builder(text).check() {
            Ok(()) => String::new(),
            Err(error) => {
                let told = error.to_string();
                assert!(!told.is_empty());
                told.split(['"', '0']).next().unwrap_or_default().to_owned()
            }
        }
    });
}
