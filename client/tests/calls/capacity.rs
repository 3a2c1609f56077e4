//! More calls than connections take: who waits, and who is next.

use std::time::Duration;

use client::{Channel, Code};
use tokio::time::{Instant, timeout};

use crate::network::{Network, Reply, address};
use crate::{call, call_within, channel};

/// A channel whose one server takes so many calls at once and answers each after this long.
async fn narrow(streams: u32, answer: Duration) -> (Network, Channel) {
    let network = Network::default();
    network.limit_streams(streams);
    network.serve(address(1), move |_| Reply::Good(answer));
    let channel = channel(&network, "{}");
    channel.until(|stats| stats.ready() == 1).await;
    // The peer's settings are known once it has answered.
    call(&channel).await.unwrap();
    (network, channel)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_is_not_overtaken_by_callers_who_call_again_at_once() {
    let answer = Duration::from_millis(10);
    let (_network, channel) = narrow(4, answer).await;
    let began = Instant::now();
    let callers: Vec<_> = (0..12)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while began.elapsed() < 100 * answer {
                    let asked = Instant::now();
                    call(&channel).await.unwrap();
                    longest = longest.max(asked.elapsed());
                }
                longest
            })
        })
        .collect();
    for caller in callers {
        // Eight others in front of it, four at a time, and its own answer.
        let longest = caller.await.unwrap();
        assert!(longest <= 3 * answer + Duration::from_millis(3), "{longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_is_lost_while_callers_come_go_and_give_up_on_all_threads() {
    let (_network, channel) = narrow(1, Duration::ZERO).await;
    let callers: Vec<_> = (0..16_u64)
        .map(|number| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let mut answered = 0_u32;
                for turn in 0..200_u64 {
                    // Every third caller leaves sooner or later, in the line or in the middle of its call.
                    let patience = match number % 3 {
                        0 => Duration::from_micros(turn * 7 % 500),
                        _ => Duration::from_secs(60),
                    };
                    answered += u32::from(timeout(patience, call(&channel)).await.is_ok());
                }
                answered
            })
        })
        .collect();
    let all = async {
        for (number, caller) in callers.into_iter().enumerate() {
            let answered = caller.await.unwrap();
            assert!(number % 3 == 0 || answered == 200, "caller {number} had {answered} answers");
        }
    };
    timeout(Duration::from_secs(50), all).await.expect("a place was lost");
    let last = call_within(&channel, Duration::from_secs(10)).await;
    assert_eq!((last.unwrap(), channel.stats().waiting), (Code::Ok, 0));
}
