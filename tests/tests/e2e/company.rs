//! Many callers ask for the same thing at the same moment: each is answered as if it had asked alone.

use futures_util::future::join_all;
use proto::order::v1::{GetOrderRequest, GetPaymentRequest, GetProductRequest};
use tests::cluster::Plan;
use tonic::{Code, Status};

use crate::support::{Backend, World, order};

const CALLERS: usize = 100;

const ACCOUNT: i64 = 7;
const PRODUCT: i64 = 3;

/// How many were answered what, by code.
async fn asked_at_once<T>(calls: impl Iterator<Item = impl Future<Output = Result<T, Status>>>) {
    let answers = join_all(calls).await;
    let codes: Vec<_> =
        answers.into_iter().map(|answer| answer.err().map_or(Code::Ok, |no| no.code())).collect();
    assert_eq!(codes, [Code::Ok; CALLERS]);
}

async fn of_a_hundred_reads_of_one_id_at_once_all_are_answered(backend: Backend) {
    let mut world = World::start(backend, Plan::default()).await;
    world.account(ACCOUNT, "100").await;
    world.product(PRODUCT, "2.5", 10).await;
    let deadline = std::time::Duration::from_secs(10);
    let placed = world.place(0, order(ACCOUNT, "k", "10"), deadline).await.unwrap();
    let (account_id, order_id) = (ACCOUNT, placed.order.unwrap().order_id);

    let (orders, catalog) = (&world.clients.orders[0], &world.clients.catalog);
    let callers = || 0..CALLERS;
    asked_at_once(callers().map(|_| {
        let (mut orders, order_id) = (orders.clone(), order_id.clone());
        async move { orders.get_order(GetOrderRequest { account_id, order_id }).await }
    }))
    .await;
    asked_at_once(callers().map(|_| {
        let (mut orders, order_id) = (orders.clone(), order_id.clone());
        async move { orders.get_payment(GetPaymentRequest { account_id, order_id }).await }
    }))
    .await;
    asked_at_once(callers().map(|_| {
        let mut catalog = catalog.clone();
        async move { catalog.get_product(GetProductRequest { product_id: PRODUCT }).await }
    }))
    .await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_reads_of_one_id_at_once_all_are_answered_on_sqlite() {
    of_a_hundred_reads_of_one_id_at_once_all_are_answered(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_reads_of_one_id_at_once_all_are_answered_on_postgresql() {
    of_a_hundred_reads_of_one_id_at_once_all_are_answered(Backend::Postgres).await;
}
