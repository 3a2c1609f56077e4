//! Hedging, as the servers see it.

use std::time::Duration;

use client::Code;
use tokio::time::Instant;

use crate::network::{Network, Reply, address};
use crate::{call, channel};

const CONFIG: &str = r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {
    "maxAttempts": 3, "hedgingDelay": "0.5s", "nonFatalStatusCodes": ["UNAVAILABLE"]}}]}"#;
const UNAVAILABLE: u8 = 14;
const NOT_FOUND: u8 = 5;
const LONG: Duration = Duration::from_secs(60);
const NOW: Duration = Duration::ZERO;

async fn elapsed_ms(call: impl Future<Output = Result<Code, client::Error>>) -> (Code, u128) {
    let began = Instant::now();
    let code = call.await.unwrap();
    (code, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_joined_by_another_and_the_first_answer_wins() {
    let network = Network::default();
    network.serve(address(1), |asked| Reply::Good(if asked.before == 0 { LONG } else { NOW }));
    let channel = channel(&network, CONFIG);
    channel.until(|stats| stats.ready() == 1).await;
    let (code, ms) = elapsed_ms(call(&channel)).await;
    assert_eq!(code, Code::Ok);
    assert!((500..503).contains(&ms), "{ms}");
    assert_eq!((network.asked().len(), channel.stats().hedges), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_sent_than_the_policy_says() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(5)));
    let channel = channel(&network, CONFIG);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!(network.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_non_fatal_failure_sends_the_next_at_once_and_the_last_one_is_the_answer() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(UNAVAILABLE, NOW));
    let channel = channel(&network, CONFIG);
    channel.until(|stats| stats.ready() == 1).await;
    let (code, ms) = elapsed_ms(call(&channel)).await;
    assert_eq!((code, network.asked().len()), (Code::Unavailable, 3));
    assert!(ms < 5, "{ms}");
}

#[tokio::test(start_paused = true)]
async fn a_fatal_status_ends_the_call_though_another_attempt_is_under_way() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Good(LONG),
        _ => Reply::Status(NOT_FOUND, NOW),
    });
    let channel = channel(&network, CONFIG);
    channel.until(|stats| stats.ready() == 1).await;
    let (code, ms) = elapsed_ms(call(&channel)).await;
    assert_eq!(code, Code::NotFound);
    assert!((500..503).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn pushback_moves_the_next_hedge_and_never_ends_hedging() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        0 => Reply::Pushback(UNAVAILABLE, "2000"),
        1 => Reply::Pushback(UNAVAILABLE, "-1"),
        _ => Reply::Good(NOW),
    });
    let channel = channel(&network, CONFIG);
    channel.until(|stats| stats.ready() == 1).await;
    let (code, ms) = elapsed_ms(call(&channel)).await;
    assert_eq!((code, network.asked().len()), (Code::Unavailable, 2));
    assert!((2_000..2_005).contains(&ms), "{ms}");
}

#[tokio::test(start_paused = true)]
async fn hedges_go_to_other_endpoints() {
    let network = Network::default();
    for last in 1..=2 {
        network
            .serve(address(last), |asked| Reply::Good(if asked.before == 0 { LONG } else { NOW }));
    }
    let channel = channel(&network, CONFIG);
    channel.until(|stats| stats.ready() == 2).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    let asked = network.asked();
    assert_ne!(asked[0].address, asked[1].address);
}
