//! Processes that fall silent, and those that only seem to.

use database::DatabaseUrl;
use order_service::{
    order::{decision::Verdict, key::Claim},
    storage::{Ended, Store},
};
use sqlx::Connection;
use uuid::Uuid;

use crate::{
    on_both, on_both_with_keys_apart,
    support::{Fresh, LONG, Place, amount, claim, decide, new_id},
    verifying::execute,
};

on_both_with_keys_apart!(
    what_takes_effect_after_its_process_died_is_freed_too_and_then_the_row_goes
);

on_both!(
    what_a_silent_process_holds_is_free_though_its_leases_run,
    what_a_living_process_holds_is_not,
    what_a_pod_of_the_version_before_holds_waits_for_its_lease,
    a_process_that_has_not_beaten_yet_owns_nothing,
    after_an_outage_of_the_database_nobody_is_dead_until_all_had_time_to_beat,
    who_was_frozen_itself_judges_nobody,
    a_process_that_leaves_frees_what_it_holds,
    a_process_that_wakes_is_alive_again_and_has_lost_what_it_held,
    of_many_that_find_a_dead_process_one_ends_its_leases,
);

/// A process with a store that has beaten.
struct Process<B: Fresh> {
    id: Uuid,
    store: Store<B>,
}

impl<B: Fresh> Process<B> {
    async fn start(place: &Place) -> Self {
        let mut process = Self::new(place);
        process.store.beat().await.unwrap();
        process
    }

    fn new(place: &Place) -> Self {
        let id = new_id();
        Self { id, store: place.store::<B>(LONG).of_worker(id) }
    }

    /// Has beaten without a gap for long enough to judge others.
    async fn be_steady(&self, place: &Place) {
        self.set_back(place, "steady_since").await;
    }

    /// The last beat was long ago.
    async fn be_silent(&self, place: &Place) {
        self.set_back(place, "beat_at").await;
    }

    /// Moves a time of its row a minute into the past.
    async fn set_back(&self, place: &Place, column: &str) {
        let hex = self.id.simple();
        let statement = match &place.url {
            DatabaseUrl::Postgres(_) => format!(
                "UPDATE workers SET {column} = {column} - interval '1 min' WHERE worker_id = '{hex}'"
            ),
            DatabaseUrl::Sqlite(_) => format!(
                "UPDATE workers SET {column} = {column} - 60000000 WHERE worker_id = x'{hex}'"
            ),
        };
        execute(place, statement).await;
    }

    /// Claims a key, and leaves an order's outbox row.
    async fn hold_two(&mut self) -> Claim {
        let placed = claim(&mut self.store, &amount(1, "placed", "10")).await;
        decide(&mut self.store, &placed, Verdict::Reserved).await.notice.unwrap();
        claim(&mut self.store, &amount(1, "begun", "10")).await
    }

    async fn reap(&mut self) -> Ended {
        self.store.reap().await.unwrap()
    }
}

const NOTHING: Ended = Ended { processes: 0, keys: 0, notices: 0 };
const BOTH: Ended = Ended { processes: 1, keys: 1, notices: 1 };

async fn workers(place: &Place) -> i64 {
    let count = "SELECT count(*) FROM workers";
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            let mut connection = address.connect().await.unwrap();
            sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
        }
        DatabaseUrl::Sqlite(path) => {
            let options = database::Sqlite::options(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap()
        }
    }
}

async fn what_a_silent_process_holds_is_free_though_its_leases_run<B: Fresh>() {
    let place = B::fresh().await;
    let (mut dead, mut judge) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    let begun = dead.hold_two().await;
    judge.be_steady(&place).await;
    assert!(judge.store.overdue(9).await.unwrap().is_empty());
    assert_eq!(judge.store.take_over(std::slice::from_ref(&begun)).await.unwrap(), [None]);

    dead.be_silent(&place).await;
    assert_eq!(judge.reap().await, BOTH);
    assert_eq!(judge.store.overdue(9).await.unwrap()[0].row.claim, begun);
    assert_eq!(judge.store.lease_notices(9).await.unwrap().len(), 1);
    let taken = judge.store.take_over(std::slice::from_ref(&begun)).await.unwrap().remove(0);

    // It was frozen, and goes on: it writes nothing.
    assert_eq!(decide(&mut dead.store, &begun, Verdict::Reserved).await.decided, None);
    let taken = decide(&mut judge.store, &taken.unwrap(), Verdict::Reserved).await;
    assert!(taken.decided.is_some());
    assert!(judge.store.verify().await.unwrap().is_empty());
}

async fn what_a_living_process_holds_is_not<B: Fresh>() {
    let place = B::fresh().await;
    let (mut lives, mut judge) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    lives.hold_two().await;
    judge.be_steady(&place).await;
    assert_eq!(judge.reap().await, NOTHING);
    assert!(judge.store.overdue(9).await.unwrap().is_empty());
    assert!(judge.store.lease_notices(9).await.unwrap().is_empty());
}

async fn what_a_pod_of_the_version_before_holds_waits_for_its_lease<B: Fresh>() {
    let place = B::fresh().await;
    let mut before = Process::<B> { id: new_id(), store: place.store::<B>(LONG) };
    before.hold_two().await;
    let mut judge = Process::<B>::start(&place).await;
    judge.be_steady(&place).await;
    assert_eq!(judge.reap().await, NOTHING);
    assert!(judge.store.overdue(9).await.unwrap().is_empty());
}

async fn a_process_that_has_not_beaten_yet_owns_nothing<B: Fresh>() {
    let place = B::fresh().await;
    let mut young = Process::<B>::new(&place);
    young.hold_two().await;
    // Now it does, and dies.
    young.store.beat().await.unwrap();
    young.be_silent(&place).await;
    let mut judge = Process::<B>::start(&place).await;
    judge.be_steady(&place).await;
    assert_eq!(judge.reap().await, Ended { processes: 1, ..NOTHING });
    assert!(judge.store.overdue(9).await.unwrap().is_empty());
}

async fn after_an_outage_of_the_database_nobody_is_dead_until_all_had_time_to_beat<B: Fresh>() {
    let place = B::fresh().await;
    let (mut other, mut judge) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    other.hold_two().await;
    for process in [&other, &judge] {
        process.be_steady(&place).await;
        process.be_silent(&place).await;
    }

    // The database is back: at first nobody has beaten, then the judge alone.
    assert_eq!(judge.reap().await, NOTHING);
    judge.store.beat().await.unwrap();
    assert_eq!(judge.reap().await, NOTHING);
    assert_eq!(other.reap().await, NOTHING);

    // Whoever has still not come when the judge was steady for a while, will not.
    judge.be_steady(&place).await;
    assert_eq!(judge.reap().await, BOTH);
}

async fn who_was_frozen_itself_judges_nobody<B: Fresh>() {
    let place = B::fresh().await;
    let (mut other, mut frozen) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    other.hold_two().await;
    other.be_silent(&place).await;
    frozen.be_steady(&place).await;
    frozen.be_silent(&place).await;
    assert_eq!(frozen.reap().await, NOTHING);
}

async fn a_process_that_leaves_frees_what_it_holds<B: Fresh>() {
    let place = B::fresh().await;
    let mut leaves = Process::<B>::start(&place).await;
    let begun = leaves.hold_two().await;
    assert_eq!(leaves.store.retire().await.unwrap(), BOTH);
    assert_eq!(workers(&place).await, 0);
    let mut other = place.store::<B>(LONG);
    assert_eq!(other.overdue(9).await.unwrap()[0].row.claim, begun);
    assert_eq!(other.lease_notices(9).await.unwrap().len(), 1);
}

async fn what_takes_effect_after_its_process_died_is_freed_too_and_then_the_row_goes<B: Fresh>() {
    let place = B::fresh().await;
    let (mut dead, mut judge) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    claim(&mut dead.store, &amount(1, "late", "10")).await;
    judge.be_steady(&place).await;
    dead.be_silent(&place).await;
    // The claim is not seen yet: somebody's lock hides it from the first look.
    let hidden = "UPDATE idempotency_keys SET status = 'FAILED'".to_owned();
    let seen = "UPDATE idempotency_keys SET status = 'PROCESSING'".to_owned();
    execute(&place, hidden).await;
    assert_eq!(judge.reap().await, Ended { processes: 1, ..NOTHING });
    execute(&place, seen).await;
    assert_eq!(judge.reap().await, NOTHING);

    dead.set_back(&place, "ended_at").await;
    assert_eq!(judge.reap().await, Ended { processes: 1, keys: 1, notices: 0 });
    assert_eq!(workers(&place).await, 1);
}

async fn a_process_that_wakes_is_alive_again_and_has_lost_what_it_held<B: Fresh>() {
    let place = B::fresh().await;
    let (mut sleeper, mut judge) =
        (Process::<B>::start(&place).await, Process::<B>::start(&place).await);
    judge.be_steady(&place).await;
    sleeper.hold_two().await;
    sleeper.be_silent(&place).await;
    assert_eq!(judge.reap().await, BOTH);

    // Before its first beat it owns nothing, so that nothing is taken from it on account of its sleep.
    claim(&mut sleeper.store, &amount(1, "before the beat", "10")).await;
    sleeper.set_back(&place, "ended_at").await;
    assert_eq!(judge.reap().await, Ended { processes: 1, ..NOTHING });

    sleeper.store.beat().await.unwrap();
    claim(&mut sleeper.store, &amount(1, "after the beat", "10")).await;
    assert_eq!(judge.reap().await, NOTHING);
    sleeper.be_silent(&place).await;
    assert_eq!(judge.reap().await, Ended { processes: 1, keys: 1, notices: 0 });
}

async fn of_many_that_find_a_dead_process_one_ends_its_leases<B: Fresh>() {
    let place = B::fresh().await;
    let mut dead = Process::<B>::start(&place).await;
    dead.hold_two().await;
    dead.be_silent(&place).await;
    let mut judges = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut judge = Process::<B>::start(&place).await;
        judge.be_steady(&place).await;
        judges.spawn(async move { judge.reap().await });
    }
    let ended = judges.join_all().await;
    assert_eq!(ended.iter().filter(|ended| **ended == BOTH).count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(|ended| **ended == NOTHING).count(), 7, "{ended:?}");
}

/// A process that is frozen in the midst of a transaction holds the rows of it, and no others.
#[tokio::test]
async fn rows_that_a_frozen_transaction_holds_are_passed_over() {
    use database::Postgres;

    let place = Postgres::fresh().await;
    let (mut frozen, mut judge) =
        (Process::<Postgres>::start(&place).await, Process::<Postgres>::start(&place).await);
    for key in ["locked", "free"] {
        claim(&mut frozen.store, &amount(1, key, "10")).await;
    }
    judge.be_steady(&place).await;
    frozen.be_silent(&place).await;

    let DatabaseUrl::Postgres(address) = &place.url else { unreachable!("a PostgreSQL test") };
    let mut connection = address.connect().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM idempotency_keys WHERE idempotency_key = 'locked' FOR UPDATE")
        .execute(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(judge.reap().await, Ended { processes: 1, keys: 1, notices: 0 });
    transaction.rollback().await.unwrap();

    frozen.set_back(&place, "ended_at").await;
    assert_eq!(judge.reap().await, Ended { processes: 1, keys: 1, notices: 0 });
}
