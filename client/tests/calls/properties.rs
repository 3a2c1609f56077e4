//! What holds whatever happens, tried with schedules drawn at random. A failing one is printed by
//! proptest and kept.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use client::{Channel, Code};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::network::{Network, Reply, address};
use crate::{builder, call};

const SERVERS: u8 = 4;
/// Longer than anything in a network in memory takes, shorter than any answer.
const SETTLED: Duration = Duration::from_millis(2);

#[derive(Clone, Debug)]
enum Event {
    /// So many calls at once, each answered after this long.
    Calls(usize),
    Goaway(u8),
    /// The resolver lists these, bit by bit; never none.
    List(u8),
    Pause(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1usize..8).prop_map(Event::Calls),
        2 => (1..=SERVERS).prop_map(Event::Goaway),
        2 => (1u8..1 << SERVERS).prop_map(Event::List),
        1 => (0u64..3_000).prop_map(Event::Pause),
    ]
}

fn listed(bits: u8) -> Vec<SocketAddr> {
    (1..=SERVERS).filter(|last| bits & (1 << (last - 1)) != 0).map(address).collect()
}

/// Runs a schedule; the calls must all come to their good end.
async fn run(network: &Network, channel: &Channel, events: Vec<Event>) {
    let mut calls = JoinSet::new();
    for event in events {
        match event {
            Event::Calls(count) => {
                for _ in 0..count {
                    let channel = channel.clone();
                    calls.spawn(async move { call(&channel).await });
                }
            }
            Event::Goaway(last) => network.goaway(address(last)),
            Event::List(bits) => {
                let list = listed(bits);
                network.resolve_to(&list);
                switched(channel, &list).await;
                let before = asked_elsewhere(network, &list);
                for _ in 0..4 {
                    assert_eq!(call(channel).await.unwrap(), Code::Ok);
                }
                assert_eq!(asked_elsewhere(network, &list), before, "{list:?} are all there are");
            }
            // Paused time: part of the schedule.
            Event::Pause(ms) => sleep(Duration::from_millis(ms)).await,
        }
        sleep(SETTLED).await;
    }
    while let Some(ended) = calls.join_next().await {
        assert_eq!(ended.unwrap().unwrap(), Code::Ok);
    }
}

/// Waits until the channel uses these endpoints and no others, and one of them is ready.
async fn switched(channel: &Channel, list: &[SocketAddr]) {
    let wanted: BTreeSet<String> = list.iter().map(ToString::to_string).collect();
    channel
        .until(|stats| {
            let used = stats.endpoints.iter().map(|it| it.address.to_string());
            stats.ready() > 0 && used.collect::<BTreeSet<_>>() == wanted
        })
        .await;
}

fn asked_elsewhere(network: &Network, list: &[SocketAddr]) -> usize {
    network.asked().iter().filter(|asked| !list.contains(&asked.address)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_stream_follows_a_goaway_nobody_removed_is_asked_and_no_call_is_lost(
        events in prop::collection::vec(event(), 1..25),
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let network = Network::default();
            for last in 1..=SERVERS {
                // Long enough to be under way when its server leaves.
                network.serve(address(last), |asked| {
                    Reply::Good(Duration::from_millis(10 + 40 * (asked.before as u64 % 20)))
                });
            }
            let channel = builder(&network, "{}").seed(seed).build().unwrap();
            channel.until(|stats| stats.ready() > 0).await;
            run(&network, &channel, events).await;
            let late = network.asked().into_iter().find(|asked| asked.after_goaway > Some(SETTLED));
            assert!(late.is_none(), "a stream after GOAWAY: {late:?}");
            let stats = channel.stats();
            assert_eq!((stats.calls, stats.ambiguous), (stats.succeeded, 0));
            assert!(stats.endpoints.iter().all(|endpoint| endpoint.in_flight == 0), "{stats:?}");
        });
    }
}
