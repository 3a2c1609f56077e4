//! Many callers at once.

use database::{Postgres, Sqlite};
use proto::{Reason, account::v1 as api};
use tokio::task::JoinSet;

use crate::{
    running::{Running, capture, open, reason, reserve},
    support::Fresh,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_with_one_reserve_id_hold_once_on_sqlite() {
    one_id::<Sqlite>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_with_one_reserve_id_hold_once_on_postgres() {
    one_id::<Postgres>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_never_overdraw_one_account_on_sqlite() {
    one_account::<Sqlite>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_never_overdraw_one_account_on_postgres() {
    one_account::<Postgres>().await;
}

async fn crowd<B: Fresh>(
    service: &Running<B>,
    request: impl Fn(usize) -> api::ReserveRequest,
) -> Vec<Result<api::ReserveReply, tonic::Status>> {
    let mut calls = JoinSet::new();
    for n in 0..1_000 {
        let (mut client, request) = (service.client.clone(), request(n));
        calls.spawn(async move { client.reserve(request).await.map(tonic::Response::into_inner) });
    }
    calls.join_all().await
}

async fn one_id<B: Fresh>() {
    let mut service = Running::<B>::fresh().await;
    service.client.open_account(open(1, "100000")).await.unwrap();
    let replies = crowd(&service, |_| reserve(1, "one", "10000")).await;
    let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
    assert_eq!(replies.iter().filter(|reply| !reply.replayed).count(), 1);
    let first = replies[0].reservation.as_ref();
    assert!(replies.iter().all(|reply| reply.reservation.as_ref() == first));
    let account = service.client.capture(capture(1, "one", "")).await.unwrap().into_inner().account;
    assert_eq!(account.unwrap().balance, "90000");
    service.stop().await;
}

async fn one_account<B: Fresh>() {
    let mut service = Running::<B>::fresh().await;
    service.client.open_account(open(1, "600")).await.unwrap();
    let replies = crowd(&service, |n| reserve(1, &format!("r{n}"), "1")).await;
    let held = replies.iter().filter(|reply| reply.is_ok()).count();
    let refusals = replies.iter().filter_map(|reply| reply.as_ref().err());
    let short = refusals.filter(|status| reason(status) == Reason::InsufficientFunds).count();
    assert_eq!((held, short), (600, 400));
    service.stop().await;
}
