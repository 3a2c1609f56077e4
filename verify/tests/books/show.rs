//! One order shown from both sides, and the keys that wait.

use std::time::Duration;

use proto::order::v1::{OnDuplicate, PlaceOrderRequest, order_service_client::OrderServiceClient};
use serde_json::Value;
use tonic::transport::Channel;

use super::support::{Backend, World, order_id, program, until};

impl World {
    /// Runs a subcommand on this pair's databases.
    async fn look(&self, flags: &[&str]) -> (Option<i32>, String) {
        let databases = self.cluster.databases();
        let (account, order) = (databases.account.as_str(), databases.order.as_str());
        let urls = ["--account-db", account, "--order-db", order];
        let output = program(&[flags, &urls].concat()).await;
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    async fn show(&self, flags: &[&str]) -> (Option<i32>, Value) {
        let (code, text) = self.look(&[&["show", "--account", "1"], flags].concat()).await;
        (code, serde_json::from_str(&text).unwrap_or_default())
    }
}

async fn one_order_is_shown_from_both_sides(backend: Backend) {
    let world = World::start(backend).await;
    world.open(1, "100").await;
    world.place(1, "click-1", "12.5").await;
    until("the money to be taken", async || {
        world.show(&["--key", "click-1"]).await.1["reservations"][0]["state"] == "CAPTURED"
    })
    .await;

    let (code, shown) = world.show(&["--key", "click-1"]).await;
    assert_eq!((code, &shown["agrees"]), (Some(0), &true.into()), "{shown:#}");
    assert_eq!(shown["keys"][0]["status"], "SUCCESS", "{shown:#}");
    assert_eq!(shown["keys"][0]["response"]["outcome"], "placed", "{shown:#}");
    assert_eq!(shown["orders"][0]["status"], "PLACED", "{shown:#}");
    assert_eq!(shown["payments"][0]["amount"], shown["orders"][0]["amount"], "{shown:#}");
    assert_eq!(shown["reservations"][0]["captured"], "12.5", "{shown:#}");
    assert_eq!(shown["entries"][0]["kind"], "CAPTURE", "{shown:#}");
    assert_eq!(shown["entries"][0]["balance"], "87.5", "{shown:#}");

    let id = shown["orders"][0]["order_id"].as_str().unwrap();
    let (code, by_id) = world.show(&["--order", id]).await;
    assert_eq!((code, &by_id), (Some(0), &shown), "the same, by either name");

    // Another account's order is not shown, nor is one that nobody placed.
    let (code, nothing) = world.look(&["show", "--account", "2", "--order", id]).await;
    assert_eq!((code, nothing.as_str()), (Some(2), ""));

    // Money that was taken for no order.
    let taken = order_id();
    world.reserve(1, "3", &taken).await;
    world.capture(1, &taken).await;
    let (code, astray) = world.show(&["--order", &taken]).await;
    assert_eq!((code, &astray["agrees"]), (Some(1), &false.into()), "{astray:#}");
    assert!(astray["differences"][0].as_str().unwrap().starts_with("I6: "), "{astray:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_shown_from_both_sides_on_postgres() {
    one_order_is_shown_from_both_sides(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_is_shown_from_both_sides_on_sqlite() {
    one_order_is_shown_from_both_sides(Backend::Sqlite).await;
}

async fn a_key_that_waits_for_a_decision_is_listed_with_its_lease(backend: Backend) {
    let mut world = World::start(backend).await;
    world.open(1, "100").await;
    for pod in &mut world.cluster.account {
        pod.kill().unwrap();
    }
    let clients = world.clients.orders[0].clone();
    let asked = tokio::spawn(place_in_vain(clients));

    until("the key to be claimed", async || world.look(&["undecided"]).await.1.contains("click-2"))
        .await;
    let (_, listed) = world.look(&["undecided"]).await;
    let row: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!((&row["account_id"], &row["amount"]), (&1.into(), &"5".into()), "{row}");
    assert!(row["lease_until"].is_string() && row["owner"].is_string(), "{row}");

    let (code, shown) = world.show(&["--key", "click-2"]).await;
    assert_eq!((code, &shown["keys"][0]["status"]), (Some(0), &"PROCESSING".into()), "{shown:#}");
    let (code, none) = world.look(&["undecided", "--older-than", "1h"]).await;
    assert_eq!((code, none.as_str()), (Some(0), ""), "an hour has not gone by");
    asked.abort();
}

async fn place_in_vain(mut orders: OrderServiceClient<Channel>) {
    let request = PlaceOrderRequest {
        account_id: 1,
        idempotency_key: "click-2".to_owned(),
        amount: "5".to_owned(),
        lines: Vec::new(),
        on_duplicate: OnDuplicate::Replay.into(),
        currency: String::new(),
    };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(20));
    let _nobody_decides = orders.place_order(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_for_a_decision_is_listed_with_its_lease_on_postgres() {
    a_key_that_waits_for_a_decision_is_listed_with_its_lease(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_waits_for_a_decision_is_listed_with_its_lease_on_sqlite() {
    a_key_that_waits_for_a_decision_is_listed_with_its_lease(Backend::Sqlite).await;
}
