//! A batch answers what its jobs answer one by one, whatever they have in common. A run prints its seed.

use account_service::{
    desk::{self, Desk},
    ledger::{Account, Entry, Reservation},
    storage::Page,
};
use database::Lineage;
use futures_util::future::join_all;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use proto::id::{AccountId, ReserveId};

use crate::{
    commands::{account, history, open},
    ledger::{elsewhere, timeless},
    on_both,
    support::Fresh,
};

on_both!(
    a_batch_of_commands_does_what_they_do_one_by_one,
    equal_commands_in_one_batch_do_what_they_do_one_by_one,
    questions_that_are_read_together_are_answered_as_one_by_one,
);

/// Random histories of two accounts each.
const WORLDS: i64 = 40;

fn runner() -> TestRunner {
    let mut seed = [0; 32];
    TestRunner::default().rng().fill_bytes(&mut seed);
    println!("seed {seed:?}");
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

async fn a_batch_of_commands_does_what_they_do_one_by_one<B: Fresh>() {
    let (one, other) = (B::fresh().await, B::fresh().await);
    let (mut together, mut alone) = (one.store(), other.store());
    let mut runner = runner();
    for world in 0..WORLDS {
        for (_, batch) in history().new_tree(&mut runner).unwrap().current() {
            let batch: Vec<_> = batch.into_iter().map(|c| elsewhere(c, world * 10)).collect();
            let answers = together.apply(&batch).await.unwrap();
            let mut one_by_one = Vec::new();
            for command in batch.chunks(1) {
                one_by_one.extend(alone.apply(command).await.unwrap());
            }
            let [answers, one_by_one] =
                [answers, one_by_one].map(|all| all.into_iter().map(timeless).collect::<Vec<_>>());
            assert_eq!(answers, one_by_one, "{batch:#?}");
        }
    }
}

async fn equal_commands_in_one_batch_do_what_they_do_one_by_one<B: Fresh>() {
    let (one, other) = (B::fresh().await, B::fresh().await);
    let (mut together, mut alone) = (one.store(), other.store());
    let mut runner = runner();
    for world in 0..WORLDS {
        for (_, batch) in history().new_tree(&mut runner).unwrap().current() {
            let batch = vec![elsewhere(batch[0].clone(), world * 10); 3];
            let answers = together.apply(&batch).await.unwrap();
            let mut one_by_one = Vec::new();
            for command in batch.chunks(1) {
                one_by_one.extend(alone.apply(command).await.unwrap());
            }
            let [answers, one_by_one] =
                [answers, one_by_one].map(|all| all.into_iter().map(timeless).collect::<Vec<_>>());
            assert_eq!(answers, one_by_one, "{batch:#?}");
        }
    }
}

#[derive(Debug, Clone)]
enum Question {
    Account(AccountId),
    Reservation(AccountId, ReserveId),
    Entries(Page),
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Account(Option<Account>),
    Reservation(Option<Reservation>),
    Entries(Option<Vec<Entry>>),
}

async fn ask(desk: &Desk, question: Question) -> Told {
    match question {
        Question::Account(id) => Told::Account(desk.account(id).await.unwrap()),
        Question::Reservation(id, reserve) => {
            Told::Reservation(desk.reservation(id, reserve).await.unwrap())
        }
        Question::Entries(page) => Told::Entries(desk.entries(page).await.unwrap()),
    }
}

/// About two accounts that exist and one that does not.
fn question() -> impl Strategy<Value = Question> {
    let id = || (1..=3_i64).prop_map(account);
    let reserve = select(vec!["a", "b", "c", "d"]).prop_map(|id| ReserveId::new(id).unwrap());
    let page = (id(), prop::option::of(1..6_i64), 1..4_usize);
    prop_oneof![
        id().prop_map(Question::Account),
        (id(), reserve).prop_map(|(id, reserve)| Question::Reservation(id, reserve)),
        page.prop_map(|(account_id, before, limit)| {
            Question::Entries(Page { account_id, before, limit })
        }),
    ]
}

async fn questions_that_are_read_together_are_answered_as_one_by_one<B: Fresh>() {
    let place = B::fresh().await;
    let mut runner = runner();
    let mut store = place.store();
    store.apply(&[open(1, "1000"), open(2, "1000")]).await.unwrap();
    for (_, batch) in history().new_tree(&mut runner).unwrap().current() {
        let batch: Vec<_> = batch.into_iter().map(|command| elsewhere(command, 0)).collect();
        store.apply(&batch).await.unwrap();
    }

    let (desk, workers) = desk::open(Lineage::new(0), vec![place.store()], vec![place.store()]);
    for _ in 0..20 {
        let batch = prop::collection::vec(question(), 64).new_tree(&mut runner).unwrap().current();
        let together = join_all(batch.iter().map(|question| ask(&desk, question.clone()))).await;
        for (question, told) in batch.into_iter().zip(together) {
            assert_eq!(ask(&desk, question.clone()).await, told, "{question:?}");
        }
    }
    drop(desk);
    workers.stop().await;
}
