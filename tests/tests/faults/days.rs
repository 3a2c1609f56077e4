//! Days go by while orders are placed: partitions of the key table are made and dropped under load, and a key older than
//! its partition still has one order and one answer.
//!
//! The orders' database has a clock that the test moves, half a day at a time. `now()` is found by name: with
//! `pg_catalog` last in the search path, a function of our own is found first. A transaction keeps the time it began
//! with, as it does with the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use database::DatabaseUrl;
use proto::Reason;
use proto::order::v1::{PlaceOrderReply, PlaceOrderRequest};
use sqlx::{ConnectOptions, PgConnection};
use tests::cluster::Service;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::scene::Scene;
use crate::world::{Backend, Ground, World, persist, until};

/// How far the test comes.
const HALF_DAYS: usize = 12;

/// Orders that are placed between two jumps, at least.
const ORDERS: usize = 60;

const CALLERS: usize = 6;

/// Keys that are in work while the clock jumps must not look given up.
const FLAGS: [&str; 2] = ["--give-up-after", "24h"];

/// The row that counts is the last whose time has come. It is found by an index: the services' connections would take a
/// scan for so dear that it is worth compiling, each time.
const OWN_CLOCK: &str = "
    CREATE SCHEMA shifted;
    CREATE TABLE shifted.clock (since timestamptz PRIMARY KEY, by interval NOT NULL);
    INSERT INTO shifted.clock VALUES (pg_catalog.now(), '0');
    CREATE FUNCTION shifted.now() RETURNS timestamptz STABLE LANGUAGE sql AS '
        SELECT pg_catalog.now() + (
            SELECT clock.by FROM shifted.clock WHERE clock.since <= pg_catalog.now() ORDER BY clock.since DESC LIMIT 1
        )';
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = public, shifted, pg_catalog', current_database());
    END $$";

/// In a moment, so that no transaction that has begun sees it.
const JUMP: &str = "
    INSERT INTO shifted.clock
    SELECT pg_catalog.now() + interval '100 ms', max(clock.by) + interval '12 hours' FROM shifted.clock";

const HAS_JUMPED: &str = "SELECT max(clock.since) <= pg_catalog.now() FROM shifted.clock";

/// Of partitions, counted from today.
const DAYS: &str = "
    SELECT to_date(right(relname, 8), 'YYYYMMDD') - (now() AT TIME ZONE 'UTC')::date
    FROM pg_class WHERE relname ~ '^idempotency_keys_\\d{8}$' ORDER BY 1";

/// Of keys that have an order and no row any more.
const FORGOTTEN: &str = "
    SELECT o.idempotency_key FROM orders AS o WHERE NOT EXISTS (
        SELECT FROM idempotency_keys AS k
        WHERE k.account_id = o.account_id AND k.idempotency_key = o.idempotency_key
    )";

async fn connect(ground: &Ground) -> PgConnection {
    let DatabaseUrl::Postgres(address) = ground.databases.order.parse().unwrap() else {
        unreachable!("a PostgreSQL test")
    };
    address.connect().await.unwrap()
}

/// Places orders by new keys, asks again for old ones, and tries other requests under them.
async fn call(
    channels: [Channel; 2],
    caller: usize,
    placed: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
) -> Vec<(PlaceOrderRequest, PlaceOrderReply)> {
    let mut told: Vec<(PlaceOrderRequest, PlaceOrderReply)> = Vec::new();
    while !*stop.borrow() {
        let turn = told.len();
        let channel = || channels[turn % 2].clone();
        let request = Scene::Order.request(&format!("{caller}-{turn}"));
        let reply = persist(channel(), &request).await.unwrap();
        told.push((request, reply));
        placed.fetch_add(1, Ordering::Relaxed);
        // Now and then the very first, else one from anywhere.
        let (request, first) =
            &told[if turn.is_multiple_of(5) { 0 } else { turn * 7919 % told.len() }];
        let again = persist(channel(), request).await.unwrap();
        assert_eq!((&again.order, &again.payment), (&first.order, &first.payment));
        let other = PlaceOrderRequest { amount: "12".to_owned(), ..request.clone() };
        assert_eq!(persist(channel(), &other).await.unwrap_err(), Reason::IdempotencyKeyReused);
    }
    told
}

/// Moves the clock, and has done what every pod does once a minute.
async fn half_a_day_later(world: &World, connection: &mut PgConnection) {
    sqlx::raw_sql(JUMP).execute(&mut *connection).await.unwrap();
    let mut has_jumped = false;
    while !has_jumped {
        has_jumped = sqlx::query_scalar(HAS_JUMPED).fetch_one(&mut *connection).await.unwrap();
    }
    let (binaries, order) = (world.cluster.binaries().clone(), &world.ground.databases.order);
    let order = order.clone();
    let kept = tokio::task::spawn_blocking(move || binaries.migrate(Service::Order, &order));
    kept.await.unwrap().unwrap();
}

/// Makes what the ledger holds older.
async fn grow_old(ground: &Ground, statement: &'static str) {
    match ground.databases.account.parse().unwrap() {
        DatabaseUrl::Postgres(address) => {
            let mut connection = address.connect().await.unwrap();
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        }
        DatabaseUrl::Sqlite(path) => {
            let mut connection = database::Sqlite::options(&path).connect().await.unwrap();
            sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        }
    }
}

/// Two days are the default, of which `migrate` here keeps nothing but what the pods were told.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stands_for_the_lifetime_of_its_key_and_no_longer() {
    const LIFETIME_DAYS: usize = 4;
    let ground = Ground::make(Backend::Postgres).await;
    let mut connection = connect(&ground).await;
    sqlx::raw_sql(OWN_CLOCK).execute(&mut connection).await.unwrap();
    let mut connection = connect(&ground).await;
    let flags = [FLAGS[0], FLAGS[1], "--key-lifetime", "4d"];
    let world = World::start_on(ground, 1, &flags).await;
    let promised = "SELECT count(*) > 0 FROM key_days WHERE lifetime_days = 4";
    until("the pod to say how long it keeps keys", async || {
        sqlx::query_scalar(promised).fetch_one(&mut connection).await.unwrap()
    })
    .await;

    let (dear, sold_out) = (Scene::TooDear.request("dear"), Scene::SoldOut.request("sold out"));
    let refusals = [(&dear, Reason::PaymentFailed), (&sold_out, Reason::OutOfStock)];
    let kept = Scene::Order.request("kept");
    let first = world.persist(0, &kept).await.unwrap();
    for (request, reason) in refusals {
        assert_eq!(world.persist(0, request).await.unwrap_err(), reason);
    }
    // From now on either could be placed.
    world.deposit(&dear.amount).await;
    world.supply(2).await;

    for half_days in 1..=2 * LIFETIME_DAYS {
        half_a_day_later(&world, &mut connection).await;
        for (request, reason) in refusals {
            let again = world.persist(0, request).await.unwrap_err();
            assert_eq!(again, reason, "after {half_days} half days");
        }
    }
    for _ in 0..3 {
        half_a_day_later(&world, &mut connection).await;
    }
    // The ledger has a clock of its own.
    grow_old(&world.ground, "UPDATE reservations SET created_at = created_at - interval '5 days'")
        .await;
    for (request, _) in refusals {
        assert!(!world.persist(0, request).await.unwrap().replayed);
        assert!(world.persist(0, request).await.unwrap().replayed);
    }
    let again = world.persist(0, &kept).await.unwrap();
    assert_eq!((again.order, again.payment), (first.order, first.payment));
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_too_a_refusal_stands_for_the_lifetime_of_its_key_and_no_longer() {
    let mut world = World::start(Backend::Sqlite, 1, &["--key-lifetime", "3d"]).await;
    let dear = Scene::TooDear.request("dear");
    assert_eq!(world.persist(0, &dear).await.unwrap_err(), Reason::PaymentFailed);
    world.deposit(&dear.amount).await;
    for (clock, stands) in [("+2d", true), ("+3d", true), ("+5d", false)] {
        // The orders' database has the pod's clock; a pod looks after its keys when it starts.
        let pod = &mut world.cluster.order[0];
        pod.terminate();
        pod.wait_gone().unwrap();
        pod.set_clock(Some(clock));
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
        if !stands {
            // The ledger has a clock of its own.
            let days = "UPDATE reservations SET created_at = created_at - 5 * 86400 * 1000000";
            grow_old(&world.ground, days).await;
        }
        if stands {
            assert_eq!(
                world.persist(0, &dear).await.unwrap_err(),
                Reason::PaymentFailed,
                "{clock}"
            );
        } else {
            until("the key to be free", async || world.persist(0, &dear).await.is_ok()).await;
        }
    }
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_go_by_under_load_and_every_key_keeps_its_order() {
    let ground = Ground::make(Backend::Postgres).await;
    let mut connection = connect(&ground).await;
    sqlx::raw_sql(OWN_CLOCK).execute(&mut connection).await.unwrap();
    let mut connection = connect(&ground).await;
    let world = World::start_on(ground, 2, &FLAGS).await;
    let (stop, stopped) = watch::channel(false);
    let (placed, mut callers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for caller in 0..CALLERS {
        let channels = [world.lazily(0), world.lazily(1)];
        callers.spawn(call(channels, caller, Arc::clone(&placed), stopped.clone()));
    }
    for _ in 0..HALF_DAYS {
        let enough = placed.load(Ordering::Relaxed) + ORDERS;
        until("orders to be placed", async || placed.load(Ordering::Relaxed) >= enough).await;
        half_a_day_later(&world, &mut connection).await;
    }
    stop.send_replace(true);
    let told: Vec<_> = callers.join_all().await.into_iter().flatten().collect();

    let days: Vec<i32> = sqlx::query_scalar(DAYS).fetch_all(&mut connection).await.unwrap();
    assert_eq!(days, [-2, -1, 0, 1, 2, 3]);
    let gone: Vec<String> = sqlx::query_scalar(FORGOTTEN).fetch_all(&mut connection).await.unwrap();
    assert!(gone.len() > ORDERS, "days went with their keys: {}", gone.len());
    for (request, first) in &told {
        let again = world.persist(1, request).await.unwrap();
        assert_eq!((&again.order, &again.payment), (&first.order, &first.payment));
    }
    let orders = world.books.read().await.unwrap().orders;
    assert_eq!(orders.len(), told.len(), "one order a key");
    world.check_books().await;
}
