//! Settlements that the account service refuses: kept, shown, told again ever more rarely, given up by hand.

use std::{path::Path, time::Duration};

use database::DatabaseUrl;
use order_service::{
    order::{Action, Notice, decision::Verdict},
    storage::{
        Store, Tables,
        outbox::{Backlog, RefusedNotice, Resolved, Waiting},
    },
};
use proto::Reason;
use sqlx::{ConnectOptions, migrate::Migrator};
use tempfile::TempDir;

use crate::{
    on_both,
    support::{Fresh, LONG, OVER, Place, amount, claim, decide, new_id, settlement},
    verifying::execute,
};

on_both!(
    a_refused_notice_is_told_again_after_a_minute_and_then_ever_later_up_to_an_hour,
    a_refusal_is_new_once_for_each_reason,
    what_stands_in_the_outbox_is_counted,
    a_row_that_is_refused_or_too_old_is_stuck,
    rows_are_listed_in_pages,
    only_a_refused_row_is_resolved_and_only_once,
    what_was_given_up_is_not_told_again_with_the_others_of_its_batch,
    a_row_of_the_version_before_is_as_old_as_the_migration,
    a_process_of_the_version_before_still_writes_rows,
);

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What a statement of the database's may take on a busy machine.
const MOMENT: Duration = Duration::from_secs(30);

/// Writes a notice, as placing an order does.
async fn capture<B: Tables>(store: &mut Store<B>, key: &str) -> Notice {
    let claim = claim(store, &amount(1, key, "10")).await;
    decide(store, &claim, Verdict::Reserved).await.notice.unwrap()
}

/// As it stands among the rows, which do not tell in which batch it is.
fn row_of(notice: Notice) -> Notice {
    Notice { batch: None, ..notice }
}

fn refused(notice: &Notice, reason: Reason) -> RefusedNotice {
    RefusedNotice { notice: notice.clone(), reason }
}

async fn only_row<B: Tables>(store: &mut Store<B>) -> Waiting {
    let mut rows = store.waiting(None, 10).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

async fn a_refused_notice_is_told_again_after_a_minute_and_then_ever_later_up_to_an_hour<
    B: Fresh,
>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let notice = capture(&mut store, "k").await;
    let gone = refused(&notice, Reason::ReservationReleased);

    for (told, minutes) in (1..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        let before = store.hasten(notice.account, notice.order_id).await.unwrap().remove(0).due_at;
        // The first time its writer told it, without a lease.
        let leased = if told == 1 { Vec::new() } else { store.lease_notices(10).await.unwrap() };
        assert_eq!(leased.len(), usize::from(told > 1));

        store.refuse_notices(std::slice::from_ref(&gone)).await.unwrap();
        let row = only_row(&mut store).await;
        let pause = row.due_at - before;
        let least = Duration::from_secs(minutes * 60);
        assert!((least..least + MOMENT).contains(&pause), "{told}: {pause}");
        assert_eq!(row.attempts, told);
        assert!(store.lease_notices(10).await.unwrap().is_empty());
    }
}

async fn a_refusal_is_new_once_for_each_reason<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let (one, other) = (capture(&mut store, "a").await, capture(&mut store, "b").await);
    let gone = |notice: &Notice| refused(notice, Reason::ReservationReleased);

    let batch = [gone(&one), gone(&other), gone(&one)];
    assert_eq!(store.refuse_notices(&batch).await.unwrap(), [true, true, false]);
    assert_eq!(store.refuse_notices(&batch[..2]).await.unwrap(), [false, false]);
    let expired = refused(&one, Reason::ReservationExpired);
    assert_eq!(store.refuse_notices(&[expired]).await.unwrap(), [true]);

    // Another process told it meanwhile, and it is done.
    store.finish_notices(&[row_of(other.clone())]).await.unwrap();
    assert_eq!(store.refuse_notices(&[gone(&row_of(other))]).await.unwrap(), [false]);
    assert_eq!(only_row(&mut store).await.refused.unwrap(), "RESERVATION_EXPIRED");
}

async fn what_stands_in_the_outbox_is_counted<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    assert_eq!(store.backlog().await.unwrap(), Backlog::NONE);
    let (one, other) = (capture(&mut store, "a").await, capture(&mut store, "b").await);
    // Their writer may be telling them at this moment.
    assert_eq!(store.backlog().await.unwrap(), Backlog::NONE);

    store.refuse_notices(&[refused(&one, Reason::ReservationReleased)]).await.unwrap();
    age(&place, 7).await;
    let Backlog { refused, oldest } = store.backlog().await.unwrap();
    assert_eq!(refused, 1);
    let (hours, moment) = (7 * HOUR, 7 * HOUR + MOMENT);
    assert!((hours..moment).contains(&oldest), "{oldest:?}");

    store.finish_notices(&[row_of(one), other]).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog::NONE);
}

async fn a_row_that_is_refused_or_too_old_is_stuck<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let (one, other) = (capture(&mut store, "a").await, capture(&mut store, "b").await);
    assert_eq!(store.stuck(HOUR).await.unwrap(), []);

    store.refuse_notices(&[refused(&one, Reason::ReservationReleased)]).await.unwrap();
    let (one, other) = (row_of(one), row_of(other));
    let stuck = store.stuck(HOUR).await.unwrap();
    assert_eq!(stuck.iter().map(|row| &row.notice).collect::<Vec<_>>(), [&one]);

    age(&place, 2).await;
    let stuck = store.stuck(HOUR).await.unwrap();
    assert_eq!(stuck.iter().map(|row| &row.notice).collect::<Vec<_>>(), [&one, &other]);
    assert_eq!(store.stuck(3 * HOUR).await.unwrap().len(), 1);
}

async fn rows_are_listed_in_pages<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let mut written = Vec::new();
    for n in 0..5 {
        written.push(capture(&mut store, &format!("{n}")).await);
    }
    // One order with two rows.
    let order = (written[4].account, written[4].order_id);
    written.extend(store.cancel(&[order.into()]).await.unwrap().remove(0).unwrap().notice);

    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.waiting(after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.notice.clone());
        listed.extend(page.into_iter().map(|row| row.notice));
    }
    assert_eq!(listed, written.into_iter().map(row_of).collect::<Vec<_>>());
}

async fn only_a_refused_row_is_resolved_and_only_once<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(LONG);
    let notice = capture(&mut store, "k").await;
    let Notice { account, order_id, .. } = notice;
    let unknown = store.resolve(account, new_id(), Action::Capture, "note").await.unwrap();
    assert_eq!(unknown, Resolved::Unknown);
    let other = store.resolve(account, order_id, Action::Refund, "note").await.unwrap();
    assert_eq!(other, Resolved::Unknown);
    let waits = store.resolve(account, order_id, Action::Capture, "note").await.unwrap();
    assert_eq!(waits, Resolved::NotRefused);

    store.refuse_notices(&[refused(&notice, Reason::ReservationReleased)]).await.unwrap();
    let row = only_row(&mut store).await;
    let done = store.resolve(account, order_id, Action::Capture, "paid by invoice").await.unwrap();
    assert_eq!(done, Resolved::Done(row));
    assert_eq!(store.waiting(None, 10).await.unwrap(), []);
    assert_eq!(
        count(&place, "note = 'paid by invoice' AND refused = 'RESERVATION_RELEASED'").await,
        1
    );
    let again = store.resolve(account, order_id, Action::Capture, "note").await.unwrap();
    assert_eq!(again, Resolved::Unknown);
    assert!(store.hasten(account, order_id).await.unwrap().is_empty());
}

async fn what_was_given_up_is_not_told_again_with_the_others_of_its_batch<B: Fresh>() {
    let place = B::fresh().await;
    let mut store = place.store::<B>(OVER);
    let mut settlements = Vec::new();
    for key in ["a", "b"] {
        let claim = claim(&mut store, &amount(1, key, "10")).await;
        settlements.push(settlement(&claim, Verdict::Reserved));
    }
    let decided = store.decide(&settlements).await.unwrap();
    let notices: Vec<_> = decided.into_iter().filter_map(|settled| settled.notice).collect();
    let [given_up, other] = &notices[..] else { panic!("{notices:?}") };

    store.refuse_notices(&[refused(given_up, Reason::ReservationReleased)]).await.unwrap();
    let Notice { account, order_id, action, .. } = *given_up;
    let resolved = store.resolve(account, order_id, action, "paid by invoice").await.unwrap();
    assert!(matches!(resolved, Resolved::Done(_)), "{resolved:?}");
    assert_eq!(store.lease_notices(10).await.unwrap(), std::slice::from_ref(other));
    store.finish_notices(std::slice::from_ref(other)).await.unwrap();
    assert_eq!(store.waiting(None, 10).await.unwrap(), []);
}

async fn a_row_of_the_version_before_is_as_old_as_the_migration<B: Fresh>() {
    let place = B::empty().await;
    migrate_before(&place).await;
    execute(&place, old_row(&place)).await;

    let mut store = place.store::<B>(LONG);
    store.migrate().await.unwrap();
    let row = only_row(&mut store).await;
    assert_eq!((row.refused, row.attempts), (None, 0));
    assert_eq!(store.stuck(MOMENT).await.unwrap(), []);
    assert_eq!(store.lease_notices(10).await.unwrap(), [row.notice]);
}

async fn a_process_of_the_version_before_still_writes_rows<B: Fresh>() {
    let place = B::fresh().await;
    execute(&place, old_row(&place)).await;
    let mut store = place.store::<B>(LONG);
    assert_eq!(store.stuck(MOMENT).await.unwrap(), []);
    age(&place, 2).await;
    assert_eq!(store.stuck(HOUR).await.unwrap().len(), 1);
}

/// Writes a row that has been due for long, as the version before does: it names no other columns.
fn old_row(place: &Place) -> String {
    let id = match &place.url {
        DatabaseUrl::Postgres(_) => "'01a21be1-092c-7761-9053-7ac4d3442a90'",
        DatabaseUrl::Sqlite(_) => "x'01a21be1092c776190537ac4d3442a90'",
    };
    let due = match &place.url {
        DatabaseUrl::Postgres(_) => "now() - interval '1 day'",
        DatabaseUrl::Sqlite(_) => "0",
    };
    format!(
        "INSERT INTO outbox (account_id, order_id, action, amount, due_at) VALUES (1, {id}, 'RELEASE', 10, {due})"
    )
}

/// Makes all that is to be told so many hours older.
async fn age(place: &Place, hours: u64) {
    let sql = match &place.url {
        DatabaseUrl::Postgres(_) => {
            format!(
                "UPDATE outbox SET created_at = created_at - interval '{hours} hours';
                 UPDATE notice_batches SET created_at = created_at - interval '{hours} hours'"
            )
        }
        DatabaseUrl::Sqlite(_) => {
            format!(
                "UPDATE outbox SET created_at = created_at - {hours} * 3600 * 1000000;
                 UPDATE notice_batches SET created_at = created_at - {hours} * 3600 * 1000000"
            )
        }
    };
    execute(place, sql).await;
}

/// How many resolutions there are of this kind.
async fn count(place: &Place, which: &str) -> i64 {
    let query = format!("SELECT count(*) FROM settlement_resolutions WHERE {which}");
    let query = sqlx::AssertSqlSafe(query);
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            let mut connection = address.connect().await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = database::Sqlite::options(path).connect().await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
        }
    }
}

/// Brings an empty database to the schema of before the column.
async fn migrate_before(place: &Place) {
    let kind = match &place.url {
        DatabaseUrl::Postgres(_) => "postgres",
        DatabaseUrl::Sqlite(_) => "sqlite",
    };
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
    let before = TempDir::new().unwrap();
    for file in std::fs::read_dir(all).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if *name < *"0004" {
            std::fs::copy(file.path(), before.path().join(name)).unwrap();
        }
    }
    let migrator = Migrator::new(before.path()).await.unwrap();
    match &place.url {
        DatabaseUrl::Postgres(address) => {
            migrator.run(&mut address.connect().await.unwrap()).await.unwrap();
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = database::Sqlite::options(path).connect().await.unwrap();
            migrator.run(&mut connection).await.unwrap();
        }
    }
}
