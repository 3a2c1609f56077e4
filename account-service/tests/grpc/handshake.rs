//! Two databases introduce themselves, and commands reach no other ledger than the one they are meant for.

use database::{Postgres, Sqlite};
use proto::{
    Failure, Reason,
    account::v1::{self as api, command::Command},
};

use crate::{
    apply::apply,
    running::{Running, names, open, reserve},
    support::Fresh,
};

fn caller(epoch: i64, commits: &[i64]) -> api::HandshakeRequest {
    let (database_id, commits) = ("orders".to_owned(), commits.to_vec());
    api::HandshakeRequest { caller: Some(api::Position { database_id, epoch, commits }) }
}

async fn the_highest_position_of_a_caller_is_remembered<B: Fresh>() {
    let mut service = Running::<B>::fresh().await;
    let mut highest = async |request| {
        service.client.handshake(request).await.unwrap().into_inner().caller_highest.unwrap()
    };
    for (told, remembered) in [
        (caller(1, &[3, 4]), caller(1, &[3, 4])),
        (caller(1, &[5, 1, 1]), caller(1, &[5, 4, 1])),
        (caller(2, &[1]), caller(2, &[1])),
        (caller(1, &[9, 9, 9]), caller(2, &[1])),
    ] {
        assert_eq!(Some(highest(told).await), remembered.caller);
    }
    service.stop().await;
}

async fn each_commit_moves_the_ledger_on<B: Fresh>() {
    let service = Running::<B>::fresh().await;
    let ledger = async || {
        let reply = service.client.clone().handshake(caller(1, &[])).await.unwrap().into_inner();
        let ledger = reply.ledger.unwrap();
        (ledger.database_id, ledger.commits.iter().sum::<i64>())
    };
    let (id, before) = ledger().await;
    assert_eq!(ledger().await, (id.clone(), before), "a handshake is no commit");
    service.client.clone().open_account(open(1, "100")).await.unwrap();
    assert_eq!(ledger().await, (id, before + 1));
    service.stop().await;
}

async fn commands_for_another_ledger_are_not_carried_out<B: Fresh>() {
    let mut service = Running::<B>::fresh().await;
    service.client.open_account(open(1, "100")).await.unwrap();
    let reply = service.client.handshake(caller(1, &[])).await.unwrap().into_inner();
    let own = reply.ledger.unwrap().database_id;

    let mut request = apply([Command::Reserve(reserve(1, "a", "60"))]);
    request.ledger_id = "another".to_owned();
    let refused = service.client.apply(request.clone()).await.unwrap_err();
    assert_eq!(Failure::of(&refused).unwrap().reason(), Reason::LedgerMismatch);
    let read = service.client.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!(read.get_ref().reserved, "0");

    request.ledger_id = own;
    service.client.apply(request).await.unwrap();
    service.stop().await;
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<super::Sqlite>().await;
            })*
        }

        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<super::Postgres>().await;
            })*
        }
    };
}

on_both!(
    the_highest_position_of_a_caller_is_remembered,
    each_commit_moves_the_ledger_on,
    commands_for_another_ledger_are_not_carried_out,
);

#[tokio::test]
async fn a_position_that_is_none_is_refused_by_field() {
    let mut service = Running::<Sqlite>::fresh().await;
    let nobody = api::HandshakeRequest { caller: None };
    let refused = service.client.handshake(nobody).await.unwrap_err();
    names(&refused, &["caller.database_id", "caller.epoch"]);
    let refused = service.client.handshake(caller(1, &[0; 257])).await.unwrap_err();
    names(&refused, &["caller.commits"]);
    service.stop().await;
}
