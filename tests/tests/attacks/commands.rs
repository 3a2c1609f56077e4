//! Thousands of commands in a few calls.

use std::time::{Duration, Instant};

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::command::Command as Kind;
use proto::account::v1::{ApplyRequest, Command, ReserveRequest};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Code;
use tonic::transport::Channel;

use crate::scene::Scene;

const ATTACK: Duration = Duration::from_secs(6);

/// Until the queue is as long as it gets.
const HEAD_START: Duration = Duration::from_secs(1);

/// What a refused caller is told, as long as its queue is full.
const PUSHBACK: Duration = Duration::from_millis(50);

/// 512 commands for accounts that were never opened.
fn commands(attacker: usize, round: usize) -> ApplyRequest {
    let command = |number: usize| {
        let reserve = ReserveRequest {
            account_id: i64::try_from(1_000_000 + attacker * 1_000 + number).unwrap(),
            amount: "1".to_owned(),
            reserve_id: format!("loud-{round}"),
            order_id: "loud".to_owned(),
            ..ReserveRequest::default()
        };
        Command { command: Some(Kind::Reserve(reserve)) }
    };
    ApplyRequest { commands: (0..512).map(command).collect(), ledger_id: String::new() }
}

/// Applies without a pause but what it is told to come back after, and answers how long the calls took that were taken.
async fn attack(
    mut client: AccountServiceClient<Channel>,
    attacker: usize,
    until: Instant,
) -> Vec<Duration> {
    let (mut took, mut round) = (Vec::new(), 0);
    while Instant::now() < until {
        round += 1;
        let call = Instant::now();
        match client.apply(commands(attacker, round)).await {
            Ok(_) => took.push(call.elapsed()),
            Err(status) if status.code() == Code::ResourceExhausted => sleep(PUSHBACK).await,
            Err(status) => panic!("{status}"),
        }
    }
    took
}

/// A batch of 256 commands takes a debug build a quarter of a second, and a caller waits for the one that runs and for its
/// own. So its time is held against that of who queues thousands, which without turns it would share.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_calls_of_512_commands_keep_no_other_caller_waiting_for_them() {
    let mut scene = Scene::start(&["--max-queued", "8192"]).await;
    let channel = tests::cluster::connect(scene.pod()).await.unwrap();
    let until = Instant::now() + ATTACK + HEAD_START;
    let mut attackers = JoinSet::new();
    for attacker in 0..20 {
        attackers.spawn(attack(AccountServiceClient::new(channel.clone()), attacker, until));
    }
    sleep(HEAD_START).await;
    let fared = scene.call_for(ATTACK).await;
    let mut took = attackers.join_all().await.concat();
    took.sort_unstable();

    let median = took[took.len() / 2];
    println!("{} attacking calls, median {median:?}; {fared:?}", took.len());
    assert!(fared.failed.is_empty() && fared.calls >= 5, "{fared:?}");
    assert!(fared.p50 * 2 <= median, "{fared:?}, attackers {median:?}");
    assert!(fared.p99 <= Duration::from_secs(2), "{fared:?}");
    assert!(scene.refused("caller_queued").await > 0);
    assert_eq!(scene.refused("queued").await, 0);
    scene.stop_and_verify();
}
