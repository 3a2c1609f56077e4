//! Many commands in one call: each is answered by itself, and as its own call would be.

use database::Sqlite;
use proto::{
    Reason,
    account::v1::{self as api, command::Command},
};

use crate::running::{Running, capture, names, open, refund, release, reserve};

pub(crate) fn apply(commands: impl IntoIterator<Item = Command>) -> api::ApplyRequest {
    let commands = commands.into_iter().map(|command| api::Command { command: Some(command) });
    api::ApplyRequest { commands: commands.collect(), ledger_id: String::new() }
}

/// What an outcome says: done, done before, or why not.
fn said(outcome: &api::Outcome) -> Result<bool, (i32, &str)> {
    match &outcome.refusal {
        None => Ok(outcome.replayed),
        Some(refusal) => Err((refusal.code, refusal.reason.as_str())),
    }
}

fn refused(reason: Reason) -> Result<bool, (i32, &'static str)> {
    Err((reason.code().into(), reason.as_str()))
}

#[tokio::test]
async fn commands_are_carried_out_in_their_order_and_refused_alone() {
    let mut service = Running::<Sqlite>::fresh().await;
    service.client.open_account(open(1, "100")).await.unwrap();
    let commands = [
        Command::Reserve(reserve(1, "a", "60")),
        Command::Reserve(reserve(1, "b", "60")),
        Command::Capture(capture(1, "a", "")),
        Command::Reserve(reserve(1, "", "-1")),
        Command::Refund(refund(1, "a", "back", "60")),
        Command::Release(release(1, "c")),
        Command::Reserve(reserve(1, "c", "1")),
    ];
    let first = service.client.apply(apply(commands.clone())).await.unwrap().into_inner();
    let expected = |replayed| {
        [
            Ok(replayed),
            refused(Reason::InsufficientFunds),
            Ok(replayed),
            refused(Reason::InvalidRequest),
            Ok(replayed),
            Ok(replayed),
            refused(Reason::ReservationReleased),
        ]
    };
    assert_eq!(first.outcomes.iter().map(said).collect::<Vec<_>>(), expected(false));
    let wrong = first.outcomes[3].refusal.as_ref().unwrap();
    assert!(wrong.message.contains("reserve_id") && wrong.message.contains("amount"), "{wrong:?}");

    let again = service.client.apply(apply(commands)).await.unwrap().into_inner();
    // What was captured is answered as it stands now: captured, and not to be held once more.
    assert_eq!(again.outcomes.iter().map(said).skip(1).collect::<Vec<_>>(), expected(true)[1..]);
    let read = service.client.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!([&read.get_ref().balance, &read.get_ref().reserved], ["100", "0"]);
    service.stop().await;
}

#[tokio::test]
async fn one_call_takes_512_commands_and_names_the_field_when_there_are_more_or_none() {
    let mut service = Running::<Sqlite>::fresh().await;
    service.client.open_account(open(1, "1000")).await.unwrap();
    let holds = |count| (0..count).map(|n| Command::Reserve(reserve(1, &format!("r{n}"), "1")));
    for too_many in [0, 513] {
        let refused = service.client.apply(apply(holds(too_many))).await.unwrap_err();
        names(&refused, &["commands"]);
    }
    let commands = vec![api::Command { command: None }];
    let empty = api::ApplyRequest { commands, ledger_id: String::new() };
    let empty = service.client.apply(empty).await.unwrap().into_inner();
    assert_eq!(
        empty.outcomes.iter().map(said).collect::<Vec<_>>(),
        [refused(Reason::InvalidRequest)]
    );

    let held = service.client.apply(apply(holds(512))).await.unwrap().into_inner();
    assert!(held.outcomes.iter().all(|outcome| said(outcome) == Ok(false)));
    let read = service.client.get_account(api::GetAccountRequest { account_id: 1 }).await.unwrap();
    assert_eq!(read.get_ref().reserved, "512");
    service.stop().await;
}
