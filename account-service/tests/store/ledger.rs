//! The stores do what the core decides, and nothing is lost between two batches.

use account_service::{
    audit::audit,
    ledger::{Command, Outcome, Receipt, Refusal, State},
};
use database::{StoreError, Unready};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use time::Duration;

use crate::{
    commands::{
        START, account, capture, currency, deposit, history, money, open, open_in, refund, release,
        reserve, reserve_for,
    },
    on_both,
    shelf::Shelf,
    support::Fresh,
};

on_both!(
    what_a_store_answers_is_what_the_core_answers_on_rows_that_were_never_stored,
    odd_ids_and_extreme_amounts_come_back_as_they_went_in,
    a_replay_shows_the_same_reservation_to_the_microsecond,
    an_empty_batch_does_nothing,
    migrating_again_changes_nothing,
    without_tables_a_store_is_not_migrated_and_says_so,
);

/// An outcome without its times, which are the database's.
pub(crate) type Timeless =
    Result<(Option<[String; 3]>, Option<(State, [String; 3])>, bool), Refusal>;

pub(crate) fn timeless(outcome: Outcome) -> Timeless {
    outcome.map(|Receipt { account, reservation, replayed }| {
        let account = account.map(|a| [a.balance, a.reserved, a.opening_balance]);
        let reservation = reservation
            .map(|r| (r.state, [r.amount, r.captured, r.refunded].map(|m| m.to_string())));
        (account.map(|amounts| amounts.map(|m| m.to_string())), reservation, replayed)
    })
}

/// The same command on the account that lies `further` on, with a hold that outlasts any test.
pub(crate) fn elsewhere(mut command: Command, further: i64) -> Command {
    let id = match &mut command {
        Command::Open(open) => &mut open.account_id,
        Command::Deposit(deposit) => &mut deposit.account_id,
        Command::Reserve(reserve) => {
            reserve.ttl = Duration::days(1);
            &mut reserve.account_id
        }
        Command::Capture(capture) => &mut capture.account_id,
        Command::Release(release) => &mut release.account_id,
        Command::Refund(refund) => &mut refund.account_id,
    };
    *id = account(id.get() + further);
    command
}

async fn what_a_store_answers_is_what_the_core_answers_on_rows_that_were_never_stored<B: Fresh>() {
    let place = B::fresh().await;
    // Two stores in turn: what one wrote the other must find.
    let mut stores = [place.store(), place.store()];
    let mut runner = TestRunner::deterministic();
    for world in 0..60 {
        let mut shelf = Shelf::default();
        let batches = history().new_tree(&mut runner).unwrap().current();
        for (turn, (_, batch)) in batches.into_iter().enumerate() {
            // Each history has accounts of its own, and holds that outlast it.
            let batch: Vec<_> =
                batch.into_iter().map(|command| elsewhere(command, world * 10)).collect();
            let expected = shelf.run(&batch, START).into_iter().map(timeless);
            let outcomes = stores[turn % 2].apply(&batch).await.unwrap();
            let outcomes: Vec<_> = outcomes.into_iter().map(timeless).collect();
            assert_eq!(outcomes, expected.collect::<Vec<_>>(), "world {world}: {batch:?}");
        }
    }
    let report = audit::<B>(place.options.clone()).await.unwrap();
    assert!(report.ok, "{report:?}");
    assert!(report.currencies.values().any(|sums| sums.refunded > 0), "{report:?}");
}

async fn odd_ids_and_extreme_amounts_come_back_as_they_went_in<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    let longest = "~".repeat(128);
    let odd = r#" '"\{},[]%$1?;--/*"#;
    let batch = [
        open_in(currency("XAU"), i64::MAX, money("100000000000000")),
        deposit(i64::MAX, odd, "99999999999999.9999"),
        deposit(i64::MAX, &longest, "0.0001"),
        reserve_for(i64::MAX, odd, &longest, "100000000000000", 60),
        capture(i64::MAX, odd, "0.0001"),
        refund(i64::MAX, odd, odd, "0.0001"),
        release(i64::MAX, &longest),
    ];
    let first = store.apply(&batch).await.unwrap();
    let last = first.last().unwrap().as_ref().unwrap().account.unwrap();
    assert_eq!(last.balance, money("100000000000000").checked_add(last.opening_balance).unwrap());
    let again = place.store().apply(&batch).await.unwrap();
    for (first, again) in first.iter().zip(again) {
        let (first, again) = (first.as_ref().unwrap(), again.unwrap());
        assert!(again.replayed && !first.replayed);
        assert_eq!(again.account, Some(last));
    }
}

async fn a_replay_shows_the_same_reservation_to_the_microsecond<B: Fresh>() {
    let place = B::fresh().await;
    let batch = [open(1, "10"), reserve(1, "r", "3"), reserve(1, "declined", "30")];
    let first = place.store().apply(&batch).await.unwrap();
    let again = place.store().apply(&batch).await.unwrap();
    for (first, again) in first.into_iter().zip(again) {
        let seen = |outcome: Outcome| outcome.map(|receipt| receipt.reservation);
        assert_eq!(seen(first), seen(again));
    }
}

async fn an_empty_batch_does_nothing<B: Fresh>() {
    let place = B::fresh().await;
    assert_eq!(place.store().apply(&[]).await.unwrap(), []);
}

async fn migrating_again_changes_nothing<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store();
    store.apply(&[open(1, "10")]).await.unwrap();
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
    assert!(store.apply(&[open(1, "10")]).await.unwrap()[0].as_ref().unwrap().replayed);
}

async fn without_tables_a_store_is_not_migrated_and_says_so<B: Fresh>() {
    let place = B::empty().await;
    let mut store = place.store();
    assert!(matches!(store.examine().await, Err(Unready::Schema { found: 0, .. })));
    let refused = store.apply(&[open(1, "10")]).await.unwrap_err();
    assert!(!matches!(refused, StoreError::OutcomeUnknown(_)), "{refused:?}");
    store.migrate().await.unwrap();
    store.examine().await.unwrap();
    store.apply(&[open(1, "10")]).await.unwrap()[0].as_ref().unwrap();
}
