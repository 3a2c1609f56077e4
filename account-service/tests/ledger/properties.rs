//! Random histories. A failing one is shrunk, printed, and kept as a regression by proptest.

use std::collections::BTreeSet;

use account_service::ledger::{Command, PostRefund, Refusal};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use time::Duration;

use crate::{
    commands::{START, history},
    model::{Answer, Model},
    shelf::Shelf,
};

/// The rest of nothing leaves nothing by which it could be known again.
fn asks_for_the_rest(command: &Command) -> bool {
    matches!(command, Command::Refund(PostRefund { amount: None, .. }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_answer_is_the_naive_models_and_the_books_balance_after_each_batch(history in history()) {
        let (mut shelf, mut model) = (Shelf::default(), Model::default());
        let mut now = START;
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            let outcomes = shelf.run(&batch, now);
            for (command, outcome) in batch.iter().zip(outcomes) {
                let expected = model.answer(command, now);
                let balance = |receipt: account_service::ledger::Receipt| {
                    let balance = receipt.account.map(|account| account.balance.units().into());
                    (balance, receipt.replayed)
                };
                let answer: Answer = outcome.map(balance);
                prop_assert_eq!(answer, expected, "{:?}", command);
            }
            shelf.check();
        }
        // What is held, once nothing is due any more, is what the model says.
        shelf.sweep(now);
        shelf.check();
        for account in shelf.accounts.values() {
            let held = model.held(account.account_id.get(), now);
            prop_assert_eq!(i128::from(account.reserved.units()), held);
        }
    }

    #[test]
    fn a_batch_does_what_its_commands_do_one_after_the_other(history in history()) {
        let (mut batched, mut single) = (Shelf::default(), Shelf::default());
        let mut now = START;
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            batched.sweep(now);
            single.sweep(now);
            let together = batched.run(&batch, now);
            let alone: Vec<_> =
                batch.chunks(1).flat_map(|command| single.run(command, now)).collect();
            prop_assert_eq!(together, alone);
            prop_assert_eq!(&batched, &single);
        }
    }

    #[test]
    fn who_does_not_look_for_what_is_to_be_made_does_what_one_does_who_looks(history in history()) {
        let (mut looking, mut expecting) = (Shelf::default(), Shelf::default());
        let mut now = START;
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            prop_assert_eq!(looking.run(&batch, now), expecting.run_expecting_new(&batch, now));
            prop_assert_eq!(&looking, &expecting);
        }
    }

    #[test]
    fn sent_again_a_batch_changes_nothing(history in history()) {
        let mut shelf = Shelf::default();
        let mut now = START;
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            shelf.sweep(now);
            // A refusal for want of an account, a hold or room may turn into an acceptance once the batch
            // itself has changed things, so only what settled is repeated.
            let outcomes = shelf.run(&batch, now);
            let settled: Vec<_> = batch
                .into_iter()
                .zip(outcomes)
                .filter_map(|(command, outcome)| outcome.is_ok().then_some(command))
                .collect();
            let entries = shelf.entries.clone();
            let accounts = shelf.accounts.clone();
            for (command, outcome) in settled.iter().zip(shelf.run(&settled, now)) {
                // A hold that was captured or released later in the batch refuses the Reserve or the Release again.
                match outcome {
                    Ok(receipt) => prop_assert!(receipt.replayed || asks_for_the_rest(command)),
                    Err(refusal) => prop_assert!(matches!(
                        refusal,
                        Refusal::ReservationReleased | Refusal::ReservationCaptured
                    )),
                }
            }
            prop_assert_eq!(&shelf.entries, &entries);
            prop_assert_eq!(&shelf.accounts, &accounts);
        }
    }

    #[test]
    fn whatever_is_asked_for_no_balance_is_ever_finer_than_its_currency(history in history()) {
        let (mut shelf, mut now) = (Shelf::default(), START);
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            shelf.run(&batch, now);
            for account in shelf.accounts.values() {
                for amount in [account.balance, account.reserved, account.available()] {
                    prop_assert_eq!(account.currency.check(amount), Ok(amount));
                }
            }
        }
    }

    #[test]
    fn a_declined_reserve_id_is_never_accepted_later(history in history()) {
        let mut shelf = Shelf::default();
        let mut now = START;
        let mut declined = BTreeSet::new();
        for (pause, batch) in history {
            now += Duration::seconds(pause);
            for (command, outcome) in batch.iter().zip(shelf.run(&batch, now)) {
                let Command::Reserve(reserve) = command else { continue };
                let key = (reserve.account_id, reserve.reserve_id.clone());
                match outcome {
                    Ok(_) => prop_assert!(!declined.contains(&key)),
                    Err(
                        Refusal::InsufficientFunds
                        | Refusal::AccountNotFound
                        | Refusal::CurrencyMismatch
                        | Refusal::AmountPrecision,
                    ) => {
                        declined.insert(key);
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

#[test]
fn random_histories_meet_every_refusal() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..2_000 {
        let (mut shelf, mut now) = (Shelf::default(), START);
        for (pause, batch) in history().new_tree(&mut runner).unwrap().current() {
            now += Duration::seconds(pause);
            let outcomes = shelf.run(&batch, now);
            met.extend(outcomes.into_iter().filter_map(|o| o.err().map(|r| format!("{r:?}"))));
        }
    }
    // All but Inconsistent, which no history of ours can lead to.
    assert_eq!(met.len(), 19, "{met:?}");
    assert!(!met.contains("Inconsistent"));
}
