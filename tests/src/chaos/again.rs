//! After the database of orders went back to an earlier copy: every caller asks again what it asked since.
//!
//! A caller that was told of an order keeps its key, and a caller that was told nothing sends the same request until it is.
//! Cancels come first, so that their stock is there for the orders that took it, and once more when the orders that
//! they cancel are back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::sleep;

use super::callers::{CLIENTS, Desk};
use super::calls::Pods;
use super::history::{Answer, Call, Operation};

/// How often one call is made until its answer says something, and the pause between two of them.
const TIMES: usize = 20;
const PAUSE: Duration = Duration::from_millis(200);

/// Asks again what was answered, or was not, since the copy was made.
pub(super) async fn ask_again(desk: &Desk, pods: &Pods, copied_us: u64) {
    let mut since = desk.history();
    since.retain(|operation| operation.answered_us >= copied_us);
    let cancels = cancels(&since);
    let (told, untold) = orders(&since);
    for calls in [cancels.clone(), told, untold, cancels] {
        let asked = stream::iter(calls.into_iter().enumerate());
        asked
            .for_each_concurrent(CLIENTS as usize, |(number, call)| ask(desk, pods, number, call))
            .await;
    }
}

async fn ask(desk: &Desk, pods: &Pods, number: usize, call: Call) {
    for time in 0..TIMES {
        let answer = desk.call(pods, number + time, call.clone()).await;
        if !matches!(answer, Answer::Unknown(_)) {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Every cancel that was done, or may have been.
fn cancels(since: &[Operation]) -> Vec<Call> {
    let mut seen = BTreeSet::new();
    let cancels = since.iter().filter(|operation| match (&operation.call, &operation.answer) {
        (Call::Cancel { order_id, .. }, Answer::Done | Answer::Unknown(_)) => seen.insert(order_id),
        _ => false,
    });
    cancels.map(|operation| operation.call.clone()).collect()
}

/// The request of each key: of those that somebody was told of an order by, and of those that nobody was told anything of.
fn orders(since: &[Operation]) -> (Vec<Call>, Vec<Call>) {
    let mut in_order: Vec<_> = since.iter().collect();
    in_order.sort_by_key(|operation| operation.sent_us);
    let mut seen = BTreeSet::new();
    let mut requests = |wanted: fn(&Answer) -> bool| {
        let mut requests = Vec::new();
        for operation in in_order.iter().filter(|operation| wanted(&operation.answer)) {
            let Call::Place { account, key, body, .. } = &operation.call else { continue };
            if seen.insert((*account, key)) {
                let (account, key, body) = (*account, key.clone(), *body);
                requests.push(Call::Place { account, key, body, reject: false });
            }
        }
        requests
    };
    let told = requests(|answer| answer.order_id().is_some());
    (told, requests(|answer| matches!(answer, Answer::Unknown(_))))
}
