//! Endpoints that come, go, die and are tried again.

use std::time::Duration;

use client::{Code, EndpointState};

use crate::network::{Network, Reply, address};
use crate::{builder, call, call_waiting, channel};

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
async fn a_server_that_says_goaway_after_every_few_requests_stalls_no_call() {
    let network = Network::default();
    network.limit_requests(5);
    network.serve(address(1), |_| Reply::Good(Duration::from_millis(3)));
    let channel = channel(&network, "{}");
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let asked = tokio::time::Instant::now();
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
        longest = longest.max(asked.elapsed());
    }
    assert!(network.connects(address(1)).len() >= 40);
    assert!(longest <= Duration::from_millis(10), "{longest:?}");
}

/// How long after an outage of 75 s the first call is answered.
async fn first_ok_after_an_outage(channel: &client::Channel, network: &Network) -> Duration {
    channel.until(|stats| stats.ready() == 1).await;
    // Paused time: nothing is owed from the start.
    tokio::time::sleep(Duration::from_secs(300)).await;
    network.kill(address(1));
    channel.until(|stats| stats.ready() == 0).await;
    tokio::time::sleep(Duration::from_secs(75)).await;
    let over = tokio::time::Instant::now();
    network.serve(address(1), |_| Reply::Good(NOW));
    network.resolve_to(&[address(1)]);
    assert_eq!(call_waiting(channel).await.unwrap(), Code::Ok);
    over.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_the_resolver_names_again_is_tried_at_once() {
    for seed in 0..20 {
        let network = Network::default();
        network.serve(address(1), |_| Reply::Good(NOW));
        let channel = builder(&network, "{}")
            .resolve_every(Duration::from_secs(5), Duration::from_secs(1))
            .seed(seed)
            .build()
            .unwrap();
        channel.until(|stats| stats.ready() == 1).await;
        let forget = network.clone();
        tokio::spawn(async move {
            // Paused time: within the outage, as a headless Service forgets its last pod.
            tokio::time::sleep(Duration::from_secs(301)).await;
            forget.resolve_to(&[]);
        });
        let took = first_ok_after_an_outage(&channel, &network).await;
        assert!(took <= Duration::from_secs(5), "seed {seed}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_no_more_than_the_backoffs_maximum_after_it() {
    let max = Duration::from_secs(5);
    let mut longest = Duration::ZERO;
    for seed in 0..20 {
        let network = Network::default();
        network.serve(address(1), |_| Reply::Good(NOW));
        let channel = builder(&network, "{}")
            .connection_backoff(Duration::from_secs(1), max, 1.6)
            .seed(seed)
            .build()
            .unwrap();
        longest = longest.max(first_ok_after_an_outage(&channel, &network).await);
    }
    assert!(longest <= max.mul_f64(1.2) + Duration::from_millis(2), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_knows_better_ends_the_backoff() {
    let network = Network::default();
    network.resolve_to(&[address(1)]);
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.connect_failures == 12).await;
    network.serve(address(1), |_| Reply::Good(NOW));
    let told = tokio::time::Instant::now();
    channel.reset_connect_backoff();
    assert_eq!(call_waiting(&channel).await.unwrap(), Code::Ok);
    assert!(told.elapsed() <= Duration::from_millis(2), "{:?}", told.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reset_begins_the_backoff_anew_and_asks_no_faster_than_that() {
    let network = Network::default();
    network.resolve_to(&[address(1)]);
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.connect_failures == 12).await;
    channel.reset_connect_backoff();
    channel.until(|stats| stats.connect_failures == 15).await;
    let tries = network.connects(address(1));
    let gaps_s: Vec<_> = tries[12..].windows(2).map(|it| (it[1] - it[0]).as_secs_f64()).collect();
    assert!((0.79..=1.21).contains(&gaps_s[0]) && gaps_s[1] >= 1.27, "{gaps_s:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_before_its_stream_ids_are_used_up_and_its_calls_finish() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.before {
        3 => Reply::Good(Duration::from_secs(60)),
        _ => Reply::Good(Duration::from_millis(1)),
    });
    let channel = builder(&network, "{}").calls_per_connection(10).build().unwrap();
    for _ in 0..3 {
        call(&channel).await.unwrap();
    }
    let kept = tokio::spawn({
        let channel = channel.clone();
        async move { call(&channel).await }
    });
    while network.asked().len() < 4 {
        tokio::task::yield_now().await;
    }
    let mut longest = Duration::ZERO;
    for _ in 0..96 {
        let asked = tokio::time::Instant::now();
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
        longest = longest.max(asked.elapsed());
    }
    // 100 calls, 10 on each connection, and the one that was made when the last was full.
    let stats = channel.until(|stats| stats.connected == 11 && stats.ready() == 1).await;
    assert_eq!((stats.drained, stats.lost, stats.connect_failures), (10, 0, 0));
    assert!(longest <= Duration::from_millis(5), "{longest:?}");
    assert_eq!(kept.await.unwrap().unwrap(), Code::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_nothing_and_hangs_up_is_tried_ever_more_slowly() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(NOW));
    let channel = channel(&network, "{}");
    for _ in 0..8 {
        channel.until(|stats| stats.ready() == 1).await;
        network.kill(address(1));
        network.serve(address(1), |_| Reply::Good(NOW));
        channel.until(|stats| stats.ready() == 0).await;
    }
    let tries = network.connects(address(1));
    let last = tries.windows(2).last().map(|pair| pair[1] - pair[0]).unwrap();
    // 1.6 to the sixth power, less the jitter.
    assert!(last >= Duration::from_secs(13), "{last:?}");
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
