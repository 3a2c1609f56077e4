//! Peers that fall silent.

use std::time::Duration;

use client::Code;
use tokio::time::Instant;

use crate::network::{Network, Reply, address};
use crate::{builder, call, channel};

/// A channel that pings as the pair does (requirement row A3).
fn attentive(network: &Network, config: &str) -> client::Builder {
    builder(network, config)
        .keepalive(Duration::from_secs(10), Duration::from_secs(5))
        .keepalive_without_calls(true)
}

const NOW: Duration = Duration::ZERO;
/// A ping after 10 s of silence, 5 s for its answer.
const NOTICED: Duration = Duration::from_millis(15_100);
const IDEMPOTENT: &str = r#"{"methodConfig": [{"name": [{}], "idempotent": true, "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]}"#;

#[tokio::test(start_paused = true)]
async fn a_frozen_server_is_found_out_without_any_call() {
    let network = Network::default();
    (1..=2).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let channel = attentive(&network, "{}").build().unwrap();
    channel.until(|stats| stats.ready() == 2).await;
    // Paused time: hundreds of pings, all answered.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(channel.stats().lost, 0, "a peer that answers pings is kept");
    network.freeze(address(1));
    let frozen = Instant::now();
    channel.until(|stats| stats.lost == 1).await;
    assert!(frozen.elapsed() <= NOTICED, "{:?}", frozen.elapsed());
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_call_held_by_a_frozen_server_moves_if_it_may_run_twice_and_fails_if_not() {
    for (config, expected) in [(IDEMPOTENT, Ok(Code::Ok)), ("{}", Err(Code::Unavailable))] {
        let network = Network::default();
        network.serve(address(1), |asked| match asked.before {
            0 => Reply::Good(Duration::from_secs(600)),
            _ => Reply::Good(NOW),
        });
        let channel = attentive(&network, config).build().unwrap();
        let began = Instant::now();
        let held = tokio::spawn({
            let channel = channel.clone();
            async move { call(&channel).await }
        });
        network.first_asked().await;
        network.freeze(address(1));
        let result = held.await.unwrap().map_err(|error| error.code());
        assert_eq!(result, expected);
        assert!(began.elapsed() <= NOTICED + Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_not_pinged_where_only_calls_are_watched() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = attentive(&network, IDEMPOTENT).keepalive_without_calls(false).build().unwrap();
    channel.until(|stats| stats.ready() == 1).await;
    network.freeze(address(1));
    // Paused time: long enough for hundreds of pings, if any were sent.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(channel.stats().lost, 0);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!(channel.stats().lost, 1);
}

/// gRPC's own servers end a connection that pings them more often than every five minutes, and every
/// call on it (gRFC A8).
#[tokio::test(start_paused = true)]
async fn a_server_of_which_nothing_is_known_is_pinged_every_five_minutes_and_only_with_a_call() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(HOUR));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 1).await;
    // Paused time: an hour without a call, then one that takes as long.
    tokio::time::sleep(HOUR).await;
    assert_eq!(network.pings(), 0);
    let began = Instant::now();
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!(began.elapsed().as_secs(), HOUR.as_secs());
    // One every five minutes, both ends counted.
    assert!((12..=13).contains(&network.pings()), "{}", network.pings());
}
