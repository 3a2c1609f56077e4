//! A standby takes over from PostgreSQL, with and without the last commits. The pods live through it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use holdfast_verify::Settings;
use tests::cluster::Service;
use tests::postgres::Postgres;

use crate::scene::Scene;
use crate::world::{Ground, OPENING, PRICE, World, until};

/// Orders before the standby is cut off, and after it.
const COPIED: usize = 3;
const AFTER: usize = 5;

struct Pair {
    world: World,
    standby: Postgres,
}

impl Pair {
    async fn start() -> Self {
        let ground = Ground::make_apart().await;
        let standby = ground.postgres.as_ref().unwrap().start_standby().await.unwrap();
        Self { world: World::start_on(ground, 1, &[]).await, standby }
    }

    /// Answers the ids that callers are told, by key.
    async fn place(&self, name: &str, count: usize) -> BTreeMap<String, String> {
        let mut told = BTreeMap::new();
        for number in 0..count {
            let key = format!("{name}-{number}");
            let placed = self.world.persist(0, &Scene::Order.request(&key)).await.unwrap();
            told.insert(key, placed.order.unwrap().order_id);
        }
        until("every order to be captured", async || self.world.unfinished().await == 0).await;
        told
    }

    /// The primary dies, the standby takes over, and the orders' address leads to it.
    async fn fail_over(&mut self) {
        let primary = self.world.ground.postgres.as_mut().unwrap();
        let (old, new) = (primary.port(), self.standby.port());
        primary.kill().unwrap();
        self.standby.promote().await.unwrap();
        self.world.proxy.as_ref().unwrap().lead_to(SocketAddr::from(([127, 0, 0, 1], new)));

        let orders = &mut self.world.ground.databases.order;
        *orders = orders.replace(&format!(":{old}/"), &format!(":{new}/"));
        self.world.books.order = orders.parse().unwrap();
    }

    async fn check(&self, orders: usize) {
        let spent = PRICE * i64::try_from(orders).unwrap();
        assert_eq!(self.world.account().await.balance, (OPENING - spent).to_string());
        self.world.check_books().await;
    }
}

/// The standby is not waited for and was cut off: what was committed last is lost with the primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_lost_commits_is_noticed_and_lost_orders_are_paid_once() {
    let mut pair = Pair::start().await;
    let mut told = pair.place("copied", COPIED).await;
    let copied = pair.standby.url("orders");
    until("the standby to have them", async || {
        holdfast_verify::verify(
            &pair.world.books.account,
            &copied.parse().unwrap(),
            Settings::at_rest(),
        )
        .await
        .is_ok_and(|report| report.ok && report.orders == COPIED)
    })
    .await;
    pair.standby.set("primary_conninfo", "").await.unwrap();
    told.extend(pair.place("after", AFTER).await);

    pair.fail_over().await;
    pair.world.cluster.order[0].wait_health_says("went back in time").await.unwrap();
    let refused = pair.world.place(0, Scene::Order.request("after-0")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");

    let orders = pair.world.ground.databases.order.clone();
    pair.world.cluster.binaries().resume(Service::Order, &orders).unwrap();
    pair.world.cluster.order[0].wait_ready().await.unwrap();

    let mut again = pair.place("copied", COPIED).await;
    again.extend(pair.place("after", AFTER).await);
    assert_eq!(again, told, "an order has another id than its caller was told");
    pair.check(COPIED + AFTER).await;
}

/// Each commit waits for the standby, so that nothing is lost and nobody has to accept anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_synchronous_standby_loses_nothing_and_needs_no_operator() {
    let mut pair = Pair::start().await;
    let primary = pair.world.ground.postgres.as_ref().unwrap();
    primary.set("synchronous_standby_names", "standby").await.unwrap();
    let told = pair.place("before", COPIED + AFTER).await;

    pair.fail_over().await;
    let later = pair.place("later", AFTER).await;
    pair.world.cluster.order[0].wait_ready().await.unwrap();

    let again = pair.place("before", COPIED + AFTER).await;
    assert_eq!(again, told);
    pair.check(told.len() + later.len()).await;
}
