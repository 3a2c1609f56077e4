//! Deadlines: one for the whole call, told to every attempt.

use std::time::Duration;

use client::{CallOptions, Code};
use tokio::time::Instant;

use crate::network::{Network, Reply, address};
use crate::{call, call_within, channel, request, send};

const UNAVAILABLE: u8 = 14;

#[tokio::test(start_paused = true)]
async fn our_deadline_is_deadline_exceeded_and_is_not_retried() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(60)));
    let config = r#"{"methodConfig": [{"name": [{}], "idempotent": true, "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["DEADLINE_EXCEEDED", "UNAVAILABLE"]}}]}"#;
    let channel = channel(&network, config);
    let began = Instant::now();
    let error = call_within(&channel, Duration::from_secs(2)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!((2_000..2_002).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(network.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_the_time_that_is_left() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Pushback(UNAVAILABLE, "4000"),
        _ => Reply::Good(Duration::ZERO),
    });
    let config = r#"{"methodConfig": [{"name": [{}], "timeout": "10s", "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;
    let channel = channel(&network, config);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    let told: Vec<u64> = network.asked().iter().map(|asked| micros(&asked.headers)).collect();
    assert!((9_900_000..=10_000_000).contains(&told[0]), "{told:?}");
    assert!((5_900_000..=6_000_000).contains(&told[1]), "{told:?}");
}

fn micros(headers: &http::HeaderMap) -> u64 {
    let text = headers["grpc-timeout"].to_str().unwrap();
    text.strip_suffix('u').unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_all_deadlines_counts() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(60)));
    let channel = channel(&network, r#"{"methodConfig": [{"name": [{}], "timeout": "3s"}]}"#);
    for (header, option, expected) in
        [(None, None, 3), (Some("2S"), None, 2), (Some("2S"), Some(1), 1)]
    {
        let mut request = request();
        if let Some(header) = header {
            request.headers_mut().insert("grpc-timeout", header.parse().unwrap());
        }
        if let Some(seconds) = option {
            let options = CallOptions::default().timeout(Duration::from_secs(seconds));
            request.extensions_mut().insert(options);
        }
        let began = Instant::now();
        let error = send(&channel, request).await.unwrap_err();
        assert_eq!((error.code(), began.elapsed().as_secs()), (Code::DeadlineExceeded, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_attempt_of_an_idempotent_method_is_given_up_for_the_next() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Good(Duration::from_secs(600)),
        _ => Reply::Good(Duration::ZERO),
    });
    let config = r#"{"methodConfig": [{"name": [{}], "idempotent": true, "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"], "perAttemptRecvTimeout": "2s"}}]}"#;
    let channel = channel(&network, config);
    let began = Instant::now();
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert!((2_080..2_130).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_ready_ends_when_the_backend_is_back() {
    let network = Network::default();
    network.resolve_to(&[address(1)]);
    let channel = channel(&network, r#"{"methodConfig": [{"name": [{}], "waitForReady": true}]}"#);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { call_within(&channel, Duration::from_secs(60)).await }
    });
    channel.until(|stats| stats.connect_failures >= 3).await;
    assert!(!waiting.is_finished());
    network.serve(address(1), |_| Reply::Good(Duration::ZERO));
    assert_eq!(waiting.await.unwrap().unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_may_wait() {
    let network = Network::default();
    network.black_hole(address(1));
    network.resolve_to(&[address(1)]);
    let channel = crate::builder(&network, "{}").waiting_max(10).build().unwrap();
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { call_within(&channel, Duration::from_secs(1)).await })
        })
        .collect();
    let mut codes = Vec::new();
    for call in calls {
        codes.push(call.await.unwrap().unwrap_err().code());
    }
    let count = |wanted| codes.iter().filter(|code| **code == wanted).count();
    assert_eq!((count(Code::ResourceExhausted), count(Code::DeadlineExceeded)), (2, 10));
}
