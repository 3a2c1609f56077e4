//! Endpoints that come, go, die and are tried again.

use std::time::Duration;

use client::{Code, EndpointState};

use crate::network::{Network, Reply, address};
use crate::{builder, call, channel};

const NOW: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn tries_to_connect_follow_the_connection_backoff_description() {
    let network = Network::default();
    network.resolve_to(&[address(1)]);
    let channel = channel(&network, "{}");
    channel.until(|_| network.connects(address(1)).len() > 16).await;
    let tries = network.connects(address(1));
    let mut exact_s = 1.0f64;
    for pair in tries.windows(2) {
        let gap_s = (pair[1] - pair[0]).as_secs_f64();
        // Tokio's clock ticks in milliseconds.
        assert!(
            gap_s >= exact_s * 0.8 - 0.002 && gap_s <= exact_s * 1.2 + 0.002,
            "{gap_s} at {exact_s}"
        );
        exact_s = (exact_s * 1.6).min(120.0);
    }
    assert!(exact_s >= 120.0);
}

#[tokio::test(start_paused = true)]
async fn success_resets_the_backoff_and_a_lost_connection_is_replaced_without_any_call() {
    let network = Network::default();
    network.resolve_to(&[address(1)]);
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.connect_failures >= 8).await;
    network.serve(address(1), |_| Reply::Good(NOW));
    channel.until(|stats| stats.ready() == 1).await;
    // Paused time: far beyond the longest backoff, so that none can still be owed.
    tokio::time::sleep(Duration::from_secs(300)).await;
    let lost = tokio::time::Instant::now();
    network.kill(address(1));
    network.serve(address(1), |_| Reply::Good(NOW));
    channel.until(|stats| stats.connected == 2).await;
    assert!(lost.elapsed() < Duration::from_millis(10), "{:?}", lost.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_up_at_once_is_not_tried_in_a_tight_loop() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = channel(&network, "{}");
    for _ in 0..5 {
        channel.until(|stats| stats.ready() == 1).await;
        network.kill(address(1));
        network.serve(address(1), |_| Reply::Good(NOW));
        channel.until(|stats| stats.ready() == 0).await;
    }
    let tries = network.connects(address(1));
    assert!(tries.windows(2).all(|pair| (pair[1] - pair[0]).as_millis() >= 799), "{tries:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_gone_from_the_list_gets_nothing_new_and_keeps_its_calls() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(120)));
    let channel = channel(&network, "{}");
    let kept = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel).await }
    });
    channel.until(|stats| stats.ready() == 1).await;
    network.first_asked().await;
    network.serve(address(2), |_| Reply::Good(NOW));
    network.resolve_to(&[address(2)]);
    channel
        .until(|stats| {
            stats.endpoints.len() == 1
                && stats.endpoints[0].address.to_string().starts_with("10.0.0.2")
        })
        .await;
    for _ in 0..10 {
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    }
    assert_eq!((network.asked_at(address(1)), network.asked_at(address(2))), (1, 10));
    assert_eq!(kept.await.unwrap().unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn the_old_endpoints_serve_until_one_of_the_new_is_ready() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = channel(&network, "{}");
    call(&channel).await.unwrap();
    network.resolve_to(&[address(2)]);
    channel.until(|stats| stats.endpoints.len() == 2).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    network.serve(address(2), |_| Reply::Good(NOW));
    channel.until(|stats| stats.endpoints.len() == 1).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!((network.asked_at(address(1)), network.asked_at(address(2))), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_of_the_resolver_changes_nothing() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 1).await;
    network.resolve_to(&[]);
    // Paused time: ten lookups that find nothing.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_fails_keeps_the_last_good_addresses_and_is_asked_again() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 1).await;
    network.resolve_to_nothing();
    // Paused time: ten lookups that fail.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    network.serve(address(2), |_| Reply::Good(NOW));
    network.resolve_to(&[address(2)]);
    channel.until(|stats| stats.ready() == 1 && stats.connected == 2).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!((network.asked_at(address(1)), network.asked_at(address(2))), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_and_a_goaway_are_reasons_to_ask_the_resolver_at_once() {
    for leave in [Network::kill, Network::goaway] {
        let network = Network::default();
        network.serve(address(1), |_| Reply::Good(NOW));
        let channel = channel(&network, "{}");
        channel.until(|stats| stats.ready() == 1).await;
        // Paused time: past the shortest time between lookups, far from the longest.
        tokio::time::sleep(Duration::from_secs(5)).await;
        network.serve(address(2), |_| Reply::Good(NOW));
        network.resolve_to(&[address(2)]);
        let left = tokio::time::Instant::now();
        leave(&network, address(1));
        channel
            .until(|stats| {
                let only = stats.endpoints.first().filter(|_| stats.endpoints.len() == 1);
                only.is_some_and(|it| {
                    it.address.to_string() == address(2).to_string()
                        && it.state == EndpointState::Ready
                })
            })
            .await;
        assert!(left.elapsed() < Duration::from_millis(50), "{:?}", left.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_never_resolved_is_what_calls_fail_with() {
    let network = Network::default();
    network.resolve_to_nothing();
    let error = call(&channel(&network, "{}")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "test has no address"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_channel_notices_a_dead_server_and_meets_the_first_call_with_a_live_one() {
    let network = Network::default();
    (1..=2).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 2).await;
    // Paused time: a day without a call.
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    network.kill(address(1));
    channel.until(|stats| stats.ready() == 1).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!(channel.stats().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn connecting_is_given_up_at_its_timeout() {
    let network = Network::default();
    network.black_hole(address(1));
    network.resolve_to(&[address(1)]);
    let timeout = Duration::from_secs(3);
    let channel = builder(&network, "{}").connect_timeout(timeout).build().unwrap();
    let began = tokio::time::Instant::now();
    let stats = channel.until(|stats| stats.connect_failures == 1).await;
    assert_eq!(began.elapsed().as_secs(), 3);
    assert!(matches!(stats.endpoints[0].state, EndpointState::Backoff | EndpointState::Connecting));
    let error = call(&channel).await.unwrap_err();
    assert!(error.message().contains("not connected within 3s"), "{error}");
}
