//! The channel's settings against an account service that fails.

use std::sync::Arc;

use client::Channel;
use futures_util::future::join_all;
use order_service::accounts::SERVICE_CONFIG;
use proto::account::v1::{
    ApplyRequest, Command as AnyCommand, ReserveRequest,
    account_service_client::AccountServiceClient, command::Command,
};
use tonic::Code;

use crate::accounts::{Accounts, Mood};

async fn channel_to(accounts: &[&Accounts]) -> Channel {
    let list: Vec<_> = accounts.iter().map(|one| one.address.to_string()).collect();
    let target = format!("static:///{}", list.join(","));
    let channel = Channel::builder(target).service_config(SERVICE_CONFIG).build().unwrap();
    channel.until(|stats| stats.ready() == accounts.len()).await;
    channel
}

fn reserve() -> ApplyRequest {
    let command = Some(Command::Reserve(ReserveRequest::default()));
    ApplyRequest { commands: vec![AnyCommand { command }], ledger_id: String::new() }
}

/// So many calls, 32 at a time; how each ended.
async fn call(channel: &Channel, calls: usize) -> Vec<Code> {
    let callers = (0..32).map(|_| async {
        let mut stub = AccountServiceClient::new(channel.clone());
        let mut codes = Vec::new();
        for _ in 0..calls / 32 {
            codes.push(
                stub.apply(reserve()).await.map_or_else(|status| status.code(), |_| Code::Ok),
            );
        }
        codes
    });
    join_all(callers).await.concat()
}

#[tokio::test]
async fn an_account_service_that_always_fails_is_not_asked_much_more_often_than_there_are_calls() {
    const CALLS: usize = 960;
    let failing =
        [Accounts::start(Mood::Unavailable).await, Accounts::start(Mood::Unavailable).await];
    let channel = channel_to(&[&failing[0], &failing[1]]).await;
    let codes = call(&channel, CALLS).await;
    assert_eq!(codes, vec![Code::Unavailable; CALLS]);
    let attempts: usize = failing.iter().map(|one| one.asked().len()).sum();
    assert!(attempts * 10 <= CALLS * 12, "{attempts} attempts for {CALLS} calls");
}

#[tokio::test]
async fn one_pod_that_fails_beside_one_that_does_not_costs_no_call() {
    const CALLS: usize = 320;
    let (failing, good) =
        (Accounts::start(Mood::Unavailable).await, Accounts::start(Mood::Accept).await);
    let channel = channel_to(&[&failing, &good]).await;
    let codes = call(&channel, CALLS).await;
    assert_eq!(codes, vec![Code::Ok; CALLS]);
    assert!(failing.asked().len() <= CALLS / 5, "{} were sent there", failing.asked().len());
    assert_eq!(channel.stats().ejections, 1);
}

#[tokio::test]
async fn a_pod_that_hangs_is_given_up_for_another_within_the_calls_time() {
    let (hanging, good) =
        (Accounts::start(Mood::Silent).await, Accounts::start(Mood::Accept).await);
    let channel = channel_to(&[&hanging, &good]).await;
    let stub = Arc::new(AccountServiceClient::new(channel.clone()));
    let calls = (0..16).map(|_| {
        let mut stub = (*stub).clone();
        async move {
            let mut request = tonic::Request::new(reserve());
            request.set_timeout(std::time::Duration::from_secs(5));
            stub.apply(request).await.map(drop)
        }
    });
    for answer in join_all(calls).await {
        answer.unwrap();
    }
    assert!(!hanging.asked().is_empty(), "the call of at least one began there");
}
