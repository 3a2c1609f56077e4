//! Thousands of commands in a few calls.

use std::time::Duration;

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::command::Command as Kind;
use proto::account::v1::{ApplyRequest, Command, ReserveRequest};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use crate::scene::Scene;

const CALM: Duration = Duration::from_secs(2);
const ATTACK: Duration = Duration::from_secs(6);

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

/// Applies without a pause, and answers how often it was refused.
async fn attack(mut client: AccountServiceClient<Channel>, attacker: usize) -> usize {
    let mut refused = 0;
    for round in 0.. {
        match client.apply(commands(attacker, round)).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            // The end of the attack.
            Err(_) => break,
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_calls_of_512_commands_keep_no_other_caller_waiting_for_them() {
    let mut scene = Scene::start(&["--max-queued", "8192"]).await;
    let calm = scene.call_for(CALM).await;
    let channel = tests::cluster::connect(scene.pod()).await.unwrap();
    let mut attackers = JoinSet::new();
    for attacker in 0..40 {
        attackers.spawn(attack(AccountServiceClient::new(channel.clone()), attacker));
    }
    scene.until("refusals", async |scene| scene.refused("caller_queued").await > 0).await;
    let fared = scene.call_for(ATTACK).await;
    attackers.shutdown().await;

    fared.assert_as_calm(&calm);
    assert_eq!(scene.refused("queued").await, 0);
    scene.stop_and_verify();
}
