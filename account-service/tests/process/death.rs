//! kill -9 in the middle of a run: what was acknowledged stays, and nothing happens twice.

use std::{collections::BTreeMap, process::Output, time::Duration};

use account_service::storage::Store;
use database::{Postgres, Sqlite};
use proto::account::v1::{self as api, account_service_client::AccountServiceClient};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::transport::Channel;

use crate::{
    program::{Serving, run},
    support::{Fresh, Place},
};

/// Deaths in one run.
const DEATHS: usize = 3;

/// Callers that are at work when it dies.
const CALLERS: usize = 16;

/// Acknowledged reservations after which it is killed.
const ACKNOWLEDGED: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_on_sqlite() {
    survives(Sqlite::fresh().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_on_postgres() {
    survives(Postgres::fresh().await).await;
}

async fn survives<B: Fresh>(place: Place<B>) {
    let mut acknowledged = BTreeMap::new();
    for death in 0..DEATHS {
        let mut serving = Serving::on(&place.url).await;
        open(&mut serving.client).await;
        replay(&mut serving.client, &acknowledged).await;
        work_until_killed(serving, death, &mut acknowledged).await;
    }
    let mut serving = Serving::on(&place.url).await;
    replay(&mut serving.client, &acknowledged).await;
    // Asked again, even the calls that died get one answer, once.
    for (id, _) in unanswered(&acknowledged) {
        let first = serving.client.reserve(reserve(&id)).await.unwrap().into_inner();
        let again = serving.client.reserve(reserve(&id)).await.unwrap().into_inner();
        assert!(again.replayed);
        assert_eq!(first.reservation, again.reservation);
        acknowledged.insert(id, first.reservation);
    }
    serving.kill().await;
    let Output { status, stdout, .. } = run(&["verify", "--database-url", &place.url]).await;
    let report: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
    assert!(status.success(), "{report}");
    assert_eq!(report["reservations"], acknowledged.len());
    assert_eq!(report["currencies"]["USD"]["held"], acknowledged.len().to_string());
    Store::<B>::new(place.options.clone()).examine().await.unwrap();
}

/// Reservations by id; `None` while no answer came.
type Acknowledged = BTreeMap<String, Option<api::Reservation>>;

fn unanswered(acknowledged: &Acknowledged) -> Vec<(String, Option<api::Reservation>)> {
    let unanswered = acknowledged.iter().filter(|(_, reservation)| reservation.is_none());
    unanswered.map(|(id, reservation)| (id.clone(), reservation.clone())).collect()
}

/// Accounts 1 to 4, so that batches hold commands on several.
async fn open(client: &mut AccountServiceClient<Channel>) {
    for account_id in 1..=4 {
        let opening_balance = "1000000".into();
        let request =
            api::OpenAccountRequest { account_id, currency: "USD".into(), opening_balance };
        client.open_account(request).await.unwrap();
    }
}

fn reserve(id: &str) -> api::ReserveRequest {
    let number: i64 = id.rsplit('-').next().unwrap().parse().unwrap();
    api::ReserveRequest {
        account_id: 1 + number % 4,
        amount: "1".into(),
        reserve_id: id.into(),
        order_id: "order".into(),
        ttl: None,
        currency: String::new(),
    }
}

async fn replay(client: &mut AccountServiceClient<Channel>, acknowledged: &Acknowledged) {
    for (id, reservation) in acknowledged.iter().filter(|(_, answer)| answer.is_some()) {
        let reply = client.reserve(reserve(id)).await.unwrap().into_inner();
        assert!(reply.replayed, "{id} was acknowledged and then lost");
        assert_eq!(&reply.reservation, reservation);
    }
}

/// Lets callers reserve one after the other until enough is acknowledged, then kills the service under them.
async fn work_until_killed(serving: Serving, death: usize, acknowledged: &mut Acknowledged) {
    let (answers, mut answered) = mpsc::channel(64);
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (mut client, answers) = (serving.client.clone(), answers.clone());
        callers.spawn(async move {
            for n in 0.. {
                let id = format!("{death}-{caller}-{n}");
                let reply = client.reserve(reserve(&id)).await;
                let died = reply.is_err();
                let reservation = reply.ok().and_then(|reply| reply.into_inner().reservation);
                if answers.send((id, reservation)).await.is_err() || died {
                    return;
                }
            }
        });
    }
    drop(answers);
    let mut serving = Some(serving);
    let mut count = 0;
    while let Some((id, reservation)) = answered.recv().await {
        acknowledged.insert(id, reservation);
        count += 1;
        if count >= ACKNOWLEDGED
            && let Some(serving) = serving.take()
        {
            serving.kill().await;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(30), callers.join_all()).await;
    ended.expect("callers end when the service does");
}
