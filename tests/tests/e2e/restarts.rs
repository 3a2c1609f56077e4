//! Pods are restarted one after the other while orders are placed: nothing is lost, and every
//! key answers as it first did.

use tests::cluster::Plan;

use crate::load::Load;
use crate::support::{Backend, World};

async fn orders_survive_a_rolling_restart_of_everything(backend: Backend) {
    let mut world = World::start(backend, Plan::default()).await;
    let load = Load::start(&world).await;
    let cluster = &mut world.cluster;
    for pod in cluster.order.iter_mut().chain(&mut cluster.account) {
        pod.terminate();
        pod.wait_gone().unwrap();
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
    }
    load.check(&world).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_rolling_restart_of_everything_on_sqlite() {
    orders_survive_a_rolling_restart_of_everything(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_survive_a_rolling_restart_of_everything_on_postgresql() {
    orders_survive_a_rolling_restart_of_everything(Backend::Postgres).await;
}
