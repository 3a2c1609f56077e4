//! The disk is full, or all of PostgreSQL's connections are taken: whoever asks is told in time to come back, and what
//! stood in the way once gone, everything goes on by itself.

use std::time::{Duration, Instant};

use database::DatabaseUrl;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

use crate::away::{RECOVERY, check_answer};
use crate::scene::Scene;
use crate::world::{Backend, Ground, World, place, until};

/// Requests that must have been refused before there is room again.
const REFUSED: usize = 40;

/// Files have some room in them already. Orders that this may be enough for.
const ORDERS: usize = 20_000;

/// Connections of the small server; the services want twelve of them.
const CONNECTIONS: &str = "max_connections=30";

const PATIENCE: Duration = Duration::from_secs(20);

/// Places orders until so many were refused, each as it should be. Answers the keys of those.
async fn refused(world: &World) -> Vec<String> {
    let mut refused = Vec::new();
    for number in 0..ORDERS {
        let (key, began) = (format!("in-need-{number}"), Instant::now());
        if let Err(status) = place(world.lazily(0), Scene::Order.request(&key)).await {
            check_answer(&status, began.elapsed());
            refused.push(key);
        }
        if refused.len() == REFUSED {
            return refused;
        }
    }
    panic!("there was room for {ORDERS} orders");
}

/// Now that there is what was missing.
async fn goes_on(world: &World, refused: &[String]) {
    let back = Instant::now();
    world.persist(0, &Scene::Order.request("after")).await.unwrap();
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    eprintln!("first order {:?} later", back.elapsed());
    for key in refused {
        world.persist(0, &Scene::Order.request(key)).await.unwrap();
        assert_eq!(world.orders_of_key(key).await.len(), 1);
    }
    until("all keys to be decided", async || world.unfinished().await == 0).await;
    world.check_books().await;
}

async fn a_full_disk_loses_nothing(backend: Backend) {
    let world = World::start_on(Ground::make_small(backend).await, 1, &[]).await;
    world.persist(0, &Scene::Order.request("before")).await.unwrap();
    let disk = world.ground.disk.as_ref().unwrap();
    disk.fill().unwrap();
    let refused = refused(&world).await;
    disk.make_room().unwrap();
    goes_on(&world, &refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_on_sqlite() {
    a_full_disk_loses_nothing(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_on_postgresql() {
    a_full_disk_loses_nothing(Backend::Postgres).await;
}

/// Ends the services' connections and takes all there are, until they have none.
async fn take_all(address: &PgConnectOptions) -> Vec<PgConnection> {
    let (mut taken, began) = (Vec::new(), Instant::now());
    loop {
        assert!(began.elapsed() < PATIENCE, "the services keep their connections");
        while let Ok(connection) = address.connect().await {
            taken.push(connection);
        }
        let theirs = "
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name IN ('order-service', 'account-service')";
        let first = taken.first_mut().expect("the services do not want all of them");
        let theirs: i64 = sqlx::query_scalar(theirs).fetch_one(first).await.unwrap();
        if theirs == 0 {
            return taken;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_are_taken_whoever_asks_is_told_to_come_back() {
    let world = World::start_on(Ground::make_with(&[CONNECTIONS]).await, 1, &[]).await;
    world.persist(0, &Scene::Order.request("before")).await.unwrap();
    let DatabaseUrl::Postgres(address) = &world.books.order else { unreachable!("PostgreSQL") };
    let taken = take_all(address).await;
    let refused = refused(&world).await;
    drop(taken);
    goes_on(&world, &refused).await;
}
