//! The account service is pointed at another ledger by mistake, and back.

use tests::cluster::Service;
use tests::postgres::create_database;
use tonic::Code;

use crate::scene::Scene;
use crate::world::{Backend, Ground, World};

async fn another_ledger(ground: &Ground) -> String {
    match &ground.postgres {
        Some(server) => {
            create_database(&server.url("postgres"), "another").await.unwrap();
            server.url("another")
        }
        None => ground.databases.account.replace("account.db", "another.db"),
    }
}

async fn a_wrong_ledger_burns_no_key(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    world.persist(0, &Scene::Order.request("before")).await.unwrap();
    let right = world.ground.databases.account.clone();
    let wrong = another_ledger(&world.ground).await;
    world.cluster.binaries().migrate(Service::Account, &wrong).unwrap();

    for (ledger, is_right) in [(wrong, false), (right, true)] {
        let pod = &mut world.cluster.account[0];
        pod.terminate();
        pod.wait_gone().unwrap();
        pod.set_database(&ledger);
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();

        if is_right {
            world.cluster.order[0].wait_ready().await.unwrap();
        } else {
            world.cluster.order[0].wait_health_says("works on ledger").await.unwrap();
        }
        for key in ["one", "two", "three"] {
            let request = Scene::Order.request(key);
            if is_right {
                world.persist(0, &request).await.unwrap();
            } else {
                let refused = world.place(0, request).await.unwrap_err();
                assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
            }
        }
    }
    world.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ledger_burns_no_key_on_sqlite() {
    a_wrong_ledger_burns_no_key(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ledger_burns_no_key_on_postgresql() {
    a_wrong_ledger_burns_no_key(Backend::Postgres).await;
}
