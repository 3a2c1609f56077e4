//! Who gets the calls.

use std::time::Duration;

use client::{Code, EndpointState};

use crate::network::{Network, Reply, address};
use crate::{call, call_within, channel};

const NOW: Duration = Duration::ZERO;
const ROUND_ROBIN: &str = r#"{"loadBalancingConfig": [{"round_robin": {}}]}"#;
const PICK_FIRST: &str = r#"{"loadBalancingConfig": [{"pick_first": {}}]}"#;

#[tokio::test(start_paused = true)]
async fn round_robin_gives_each_endpoint_the_same() {
    let network = Network::default();
    (1..=4).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let channel = channel(&network, ROUND_ROBIN);
    channel.until(|stats| stats.ready() == 4).await;
    for _ in 0..40 {
        call(&channel).await.unwrap();
    }
    for last in 1..=4 {
        assert_eq!(network.asked_at(address(last)), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_less() {
    const CALLERS: usize = 30;
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_millis(100)));
    (2..=3).for_each(|n| network.serve(address(n), |_| Reply::Good(Duration::from_millis(10))));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 3).await;
    let callers = (0..CALLERS).map(|_| async {
        for _ in 0..50 {
            assert_eq!(call(&channel).await.unwrap(), Code::Ok);
        }
    });
    futures_util::future::join_all(callers).await;
    let (slow, fast) = (network.asked_at(address(1)), network.asked_at(address(2)));
    assert!(slow * 4 < fast, "slow {slow}, fast {fast}");
}

/// A thousand calls by ten callers over three endpoints, the first of which fails at once; how many
/// of the calls each endpoint got.
async fn shares_beside_one_that_fails_at_once(config: &str, status: u8) -> ([usize; 3], u64) {
    const CALLERS: usize = 10;
    let network = Network::default();
    network.serve(address(1), move |_| Reply::Status(status, NOW));
    (2..=3).for_each(|n| network.serve(address(n), |_| Reply::Good(Duration::from_millis(10))));
    let channel = channel(&network, config);
    channel.until(|stats| stats.ready() == 3).await;
    let callers = (0..CALLERS).map(|_| async {
        for _ in 0..100 {
            call(&channel).await.unwrap();
        }
    });
    futures_util::future::join_all(callers).await;
    ([1, 2, 3].map(|last| network.asked_at(address(last))), channel.stats().ejections)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_fast_gets_no_more_than_its_share() {
    // UNIMPLEMENTED, as an address answers that was given to another service; NOT_FOUND; UNAVAILABLE.
    for status in [12, 5, 14] {
        let (shares, _) = shares_beside_one_that_fails_at_once("{}", status).await;
        assert!(shares[0] <= 1_000 / 3, "status {status}: {shares:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_the_config_names_ejects_the_endpoint_that_gives_it() {
    let config = |named: &str| {
        format!(
            r#"{{"loadBalancingConfig": [{{"outlier_detection_experimental": {{
            "consecutiveFailures": 5, "maxEjectionPercent": 50, "baseEjectionTime": "300s",
            {named}
            "childPolicy": [{{"least_request_experimental": {{}}}}]}}}}]}}"#
        )
    };
    let (shares, ejections) = shares_beside_one_that_fails_at_once(&config(""), 12).await;
    assert!(ejections == 0 && shares[0] <= 1_000 / 3, "{shares:?}");
    let named = config(r#""failureStatusCodes": ["UNIMPLEMENTED"],"#);
    let (shares, ejections) = shares_beside_one_that_fails_at_once(&named, 12).await;
    assert!(ejections == 1 && shares[0] <= 10, "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_well_again_gets_its_share_again() {
    let network = Network::default();
    let cured = tokio::time::Instant::now() + Duration::from_secs(10);
    network.serve(address(1), move |asked| match asked.at < cured {
        true => Reply::Status(14, NOW),
        false => Reply::Good(Duration::from_millis(100)),
    });
    (2..=3).for_each(|n| network.serve(address(n), |_| Reply::Good(Duration::from_millis(100))));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 3).await;
    let callers = (0..10).map(|_| async {
        while cured.elapsed() < Duration::from_secs(60) {
            call(&channel).await.unwrap();
        }
    });
    futures_util::future::join_all(callers).await;
    let late = cured + Duration::from_secs(50);
    let asked = network.asked();
    let lately = |n| asked.iter().filter(|it| it.at >= late && it.address == address(n)).count();
    let (all, share) = ((1..=3).map(lately).sum::<usize>(), lately(1));
    assert!(share * 10 >= all * 3, "{share} of {all}");
}

#[tokio::test(start_paused = true)]
async fn pick_first_keeps_to_one_and_connects_to_no_other() {
    let network = Network::default();
    (1..=3).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let channel = channel(&network, PICK_FIRST);
    for _ in 0..10 {
        call(&channel).await.unwrap();
    }
    assert_eq!(network.asked_at(address(1)), 10);
    assert!(network.connects(address(2)).is_empty() && network.connects(address(3)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn pick_first_gives_a_silent_address_250_ms_and_a_refusing_one_none() {
    let network = Network::default();
    network.black_hole(address(1));
    network.resolve_to(&[address(1), address(2)]);
    network.serve(address(3), |_| Reply::Good(NOW));
    let channel = channel(&network, PICK_FIRST);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    let at = |last| network.connects(address(last))[0];
    assert_eq!((at(2) - at(1)).as_millis(), 250);
    assert!((at(3) - at(2)).as_millis() <= 1);
    let stats = channel.stats();
    let states: Vec<_> = stats.endpoints.iter().map(|endpoint| endpoint.state).collect();
    assert_eq!(states, [EndpointState::Idle, EndpointState::Idle, EndpointState::Ready]);
}

#[tokio::test(start_paused = true)]
async fn pick_first_moves_on_when_its_endpoint_is_lost() {
    let network = Network::default();
    (1..=2).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let channel = channel(&network, PICK_FIRST);
    call(&channel).await.unwrap();
    network.kill(address(1));
    channel.until(|stats| stats.lost == 1 && stats.ready() == 1).await;
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    assert_eq!(network.asked_at(address(2)), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_in_a_row_rests_and_comes_back() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Status(14, NOW));
    (2..=3).for_each(|last| network.serve(address(last), |_| Reply::Good(NOW)));
    let config = r#"{"loadBalancingConfig": [{"outlier_detection_experimental": {
        "childPolicy": [{"round_robin": {}}], "consecutiveFailures": 5, "maxEjectionPercent": 50,
        "baseEjectionTime": "30s"}}]}"#;
    let channel = channel(&network, config);
    channel.until(|stats| stats.ready() == 3).await;
    while channel.stats().ejections == 0 {
        call(&channel).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(channel.stats().endpoints[0].state, EndpointState::Ejected);
    let before = network.asked_at(address(1));
    for _ in 0..20 {
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    }
    assert_eq!(network.asked_at(address(1)), before);
    let back = channel.until(|stats| stats.ready() == 3).await;
    assert_eq!(back.ejections, 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_lets_deadlines_pass_rests_and_a_caller_that_leaves_blames_nobody() {
    let network = Network::default();
    network.serve(address(1), |_| Reply::Good(Duration::from_secs(600)));
    network.serve(address(2), |_| Reply::Good(Duration::ZERO));
    let config = r#"{"loadBalancingConfig": [{"outlier_detection_experimental": {
        "consecutiveFailures": 3, "maxEjectionPercent": 50,
        "childPolicy": [{"round_robin": {}}]}}]}"#;
    let channel = channel(&network, config);
    channel.until(|stats| stats.ready() == 2).await;
    for _ in 0..10 {
        let _left = tokio::time::timeout(Duration::from_millis(100), call(&channel)).await;
    }
    assert_eq!((network.asked_at(address(1)), channel.stats().ready()), (5, 2));
    for _ in 0..6 {
        let _late = call_within(&channel, Duration::from_millis(100)).await;
    }
    let stats = channel.until(|stats| stats.ejections == 1).await;
    assert_eq!((stats.ready(), network.asked_at(address(1))), (1, 8));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_whose_health_is_not_serving_gets_no_calls() {
    let network = Network::default();
    let watched = |words: Vec<(Duration, u8)>| {
        move |asked: &crate::network::Asked| match asked.path.as_str() {
            "/grpc.health.v1.Health/Watch" => Reply::Health(words.clone()),
            _ => Reply::Good(NOW),
        }
    };
    network.serve(
        address(1),
        watched(vec![(NOW, 1), (Duration::from_secs(60), 2), (Duration::from_secs(60), 1)]),
    );
    network.serve(address(2), watched(vec![(NOW, 1)]));
    let config = r#"{"healthCheckConfig": {"serviceName": "test.Service"},
        "loadBalancingConfig": [{"round_robin": {}}]}"#;
    let channel = channel(&network, config);
    channel.until(|stats| stats.ready() == 2).await;
    let stats = channel.until(|stats| stats.ready() == 1).await;
    assert_eq!(stats.endpoints[0].state, EndpointState::Unhealthy);
    let before = network.asked_at(address(1));
    for _ in 0..10 {
        assert_eq!(call(&channel).await.unwrap(), Code::Ok);
    }
    assert_eq!(network.asked_at(address(1)), before);
    channel.until(|stats| stats.ready() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_health_service_counts_as_healthy() {
    let network = Network::default();
    network.serve(address(1), |asked| match asked.path.as_str() {
        "/grpc.health.v1.Health/Watch" => Reply::Status(12, NOW),
        _ => Reply::Good(NOW),
    });
    let channel = channel(&network, r#"{"healthCheckConfig": {"serviceName": ""}}"#);
    assert_eq!(call(&channel).await.unwrap(), Code::Ok);
}
