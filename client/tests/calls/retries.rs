//! The retry policy, as the server sees it.

use std::time::Duration;

use client::Code;
use proptest::prelude::*;

use crate::network::{Asked, Network, Reply, address};
use crate::{builder, call, call_within, channel};

/// Document A's policy, to the letter.
const DOCUMENT_A: &str = r#"{"methodConfig": [{
    "name": [{}],
    "retryPolicy": {
        "maxAttempts": 3.0, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2.0,
        "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
    }
}]}"#;

const UNAVAILABLE: u8 = 14;
const NOT_FOUND: u8 = 5;
const NOW: Duration = Duration::ZERO;

fn gaps(asked: &[Asked]) -> Vec<Duration> {
    asked.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_retryable_status_is_retried_with_backoff_and_each_attempt_says_its_number() {
    let network = Network::default();
    network.serve(address(1), |asked| {
        if asked.before < 2 { Reply::Status(UNAVAILABLE, NOW) } else { Reply::Good(NOW) }
    });
    let channel = channel(&network, DOCUMENT_A);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);

    let asked = network.asked();
    let number = |asked: &Asked| {
        let value = asked.headers.get("grpc-previous-rpc-attempts");
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let numbers: Vec<_> = asked.iter().map(number).collect();
    assert_eq!(numbers, [None, Some("1".to_owned()), Some("2".to_owned())]);
    let gaps = gaps(&asked);
    assert!((80..=121).contains(&gaps[0].as_millis()), "{gaps:?}");
    assert!((160..=241).contains(&gaps[1].as_millis()), "{gaps:?}");
    let stats = channel.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.attempts, stats.retries), (1, 1, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn attempts_end_at_the_policys_number_with_the_last_status() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(UNAVAILABLE, NOW));
    let channel = channel(&network, DOCUMENT_A);
    assert_eq!(call(&channel).await.unwrap(), Code::Unavailable);
    assert_eq!(network.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_not_listed_is_final() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(NOT_FOUND, NOW));
    let channel = channel(&network, DOCUMENT_A);
    assert_eq!(call(&channel).await.unwrap(), Code::NotFound);
    assert_eq!(network.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_another_endpoint_if_there_is_one() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(UNAVAILABLE, NOW));
    network.serve(address(2), |_| Reply::Good(NOW));
    let channel = channel(&network, DOCUMENT_A);
    channel.until(|stats| stats.ready() == 2).await;
    for _ in 0..20 {
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    }
    let asked = network.asked();
    let after_failure = asked.windows(2).filter(|pair| pair[0].address == address(1));
    assert!(after_failure.clone().count() > 0, "the bad endpoint was never tried");
    assert!(after_failure.clone().all(|pair| pair[1].address == address(2)));
}

#[tokio::test(start_paused = true)]
async fn the_throttle_stops_retries_while_most_calls_fail() {
    let config =
        DOCUMENT_A.replacen('{', r#"{"retryThrottling": {"maxTokens": 4, "tokenRatio": 0.5},"#, 1);
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(UNAVAILABLE, NOW));
    let channel = channel(&network, &config);
    for _ in 0..5 {
        assert_eq!(call(&channel).await.unwrap(), Code::Unavailable);
    }
    // Four tokens: the first failure leaves three, which allows a retry; the second leaves two.
    assert_eq!(network.asked().len(), 6);

    network.kill(address(1));
    network.serve(address(1), |asked| match asked.before {
        14 => Reply::Status(UNAVAILABLE, NOW),
        _ => Reply::Good(NOW),
    });
    channel.until(|stats| stats.ready() == 1 && stats.connected == 2).await;
    // Eight successes fill the bucket again, so the ninth call's failure may be followed.
    for _ in 0..9 {
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    }
    let retries = channel.stats().retries;
    assert_eq!(retries, 2, "successes give back what allows a retry");
}

#[tokio::test(start_paused = true)]
async fn pushback_replaces_the_backoff_and_never_means_never() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Pushback(UNAVAILABLE, "3000"),
        _ => Reply::Pushback(UNAVAILABLE, "-1"),
    });
    let channel = channel(&network, DOCUMENT_A);
    assert_eq!(call(&channel).await.unwrap(), Code::Unavailable);
    let gaps = gaps(&network.asked());
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!((3_000..3_010).contains(&gaps[0].as_millis()), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_could_not_end_in_time_is_not_begun() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Pushback(UNAVAILABLE, "5000"));
    let channel = channel(&network, DOCUMENT_A);
    let began = tokio::time::Instant::now();
    assert_eq!(call_within(&channel, Duration::from_secs(1)).await.unwrap(), Code::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_the_replay_limit_is_sent_once() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(UNAVAILABLE, NOW));
    let channel = builder(&network, DOCUMENT_A).replay_bytes(4, 100).build().unwrap();
    assert_eq!(call(&channel).await.unwrap(), Code::Unavailable);
    assert_eq!(network.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_fail_with_the_reason_when_nobody_can_be_reached() {
    let network = Network::default();
    network.resolve_to(&[address(1), address(2)]);
    let channel = channel(&network, DOCUMENT_A);
    let error = call(&channel).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("10.0.0.1:50051: connect failed"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_call_never_outlives_its_deadline_nor_its_attempts(
        codes in prop::collection::vec(prop_oneof![Just(0u8), Just(14), Just(13), Just(2), Just(5)], 1..6),
        takes_ms in 0u64..400,
        deadline_ms in 1u64..2_000,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let network = Network::default();
            let takes = Duration::from_millis(takes_ms);
            network.serve(address(1), move |asked| match codes[asked.before % codes.len()] {
                0 => Reply::Good(takes),
                code => Reply::Status(code, takes),
            });
            let channel = builder(&network, DOCUMENT_A).seed(seed).build().unwrap();
            channel.until(|stats| stats.ready() == 1).await;
            let began = tokio::time::Instant::now();
            let deadline = Duration::from_millis(deadline_ms);
            let result = call_within(&channel, deadline).await;
            // Tokio's clock ticks in milliseconds.
            assert!(began.elapsed() <= deadline + Duration::from_millis(1), "{:?}", began.elapsed());
            let asked = network.asked().len();
            assert!(asked <= 3, "{asked} attempts");
            if let Err(error) = result {
                assert_eq!(error.code(), Code::DeadlineExceeded);
            }
        });
    }
}
