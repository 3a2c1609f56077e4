//! A reservation's id is public: others refund on it too. A cancel gives back what is left.

use failpoint::Point;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{
    Account, CaptureRequest, GetAccountRequest, OpenAccountRequest, RefundRequest,
};
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{CancelOrderRequest, OnDuplicate, PlaceOrderRequest};
use tests::cluster::connect;

use crate::world::{Backend, World, persist, until};

/// What an account has before its one order, and what the order costs.
const ALL: &str = "100";

/// Refunds by others: refund_id, in which `{order}` is the order's id, and amount.
type Foreign = &'static [(&'static str, &'static str)];

const CASES: [Foreign; 6] = [
    &[("mine", "40")],
    &[("mine", "100")],
    &[("mine", "0.01"), ("yours", "99.9")],
    // Ids that the cancel itself might use.
    &[("{order}", "40")],
    &[("{order}:cancel", "40")],
    &[],
];

/// What the tests of refunds and of settlements do.
impl World {
    /// Opens an account and places the order that takes all of it.
    async fn sell_out(&self, pod: usize, account_id: i64) -> String {
        self.open_with_all(account_id).await;
        let reply = persist(self.lazily(pod), &order_for_all(account_id)).await.unwrap();
        until("the capture", async || self.read(account_id).await.balance == "0").await;
        reply.order.unwrap().order_id
    }

    pub(crate) async fn open_with_all(&self, account_id: i64) {
        let (currency, opening_balance) = (String::new(), ALL.to_owned());
        let request = OpenAccountRequest { account_id, currency, opening_balance };
        self.accounts().await.open_account(request).await.unwrap();
    }

    pub(crate) async fn read(&self, account_id: i64) -> Account {
        let request = GetAccountRequest { account_id };
        self.accounts().await.get_account(request).await.unwrap().into_inner()
    }

    async fn refund(&self, account_id: i64, order_id: &str, refund_id: &str, amount: &str) {
        let (reserve_id, refund_id) = (order_id.to_owned(), refund_id.replace("{order}", order_id));
        let request =
            RefundRequest { account_id, reserve_id, refund_id, amount: amount.to_owned() };
        self.accounts().await.refund(request).await.unwrap();
    }

    pub(crate) async fn cancel(&self, pod: usize, account_id: i64, order_id: &str) {
        let request = CancelOrderRequest { account_id, order_id: order_id.to_owned() };
        // The pod may freeze or end before it answers.
        let _lost = OrderServiceClient::new(self.lazily(pod)).cancel_order(request).await;
    }

    pub(crate) async fn accounts(&self) -> AccountServiceClient<tonic::transport::Channel> {
        AccountServiceClient::new(connect(&self.cluster.account[0]).await.unwrap())
    }

    /// Restarts the first order pod with this flag and value.
    pub(crate) async fn rearm(&mut self, flag: &str, point: Point) {
        let pod = &mut self.cluster.order[0];
        pod.terminate();
        pod.wait_gone().unwrap();
        pod.restart_with(&[flag.to_owned(), point.to_string()]).unwrap();
        pod.wait_ready().await.unwrap();
    }
}

pub(crate) fn order_for_all(account_id: i64) -> PlaceOrderRequest {
    PlaceOrderRequest {
        account_id,
        idempotency_key: "key".to_owned(),
        amount: ALL.to_owned(),
        lines: Vec::new(),
        on_duplicate: OnDuplicate::Replay.into(),
        currency: String::new(),
    }
}

async fn a_cancel_gives_back_what_others_have_not_refunded(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    for (account_id, foreign) in (100..).zip(CASES) {
        let order_id = world.sell_out(0, account_id).await;
        for (refund_id, amount) in foreign {
            world.refund(account_id, &order_id, refund_id, amount).await;
        }

        // An order that stands may have been refunded, but not under the id that is its cancel's.
        if foreign.iter().all(|(refund_id, _)| *refund_id != "{order}") {
            world.check_books().await;
        }
        world.cancel(0, account_id, &order_id).await;

        until("the rest", async || world.read(account_id).await.balance == ALL).await;
        world.check_books().await;
    }
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_gives_back_what_others_have_not_refunded_on_sqlite() {
    a_cancel_gives_back_what_others_have_not_refunded(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_gives_back_what_others_have_not_refunded_on_postgresql() {
    a_cancel_gives_back_what_others_have_not_refunded(Backend::Postgres).await;
}

/// The pod dies between the refund of the rest and the end of its outbox row: the next one tells all of it again.
async fn the_rest_is_given_back_once_though_its_answer_was_lost(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    let order_id = world.sell_out(0, 100).await;
    world.refund(100, &order_id, "mine", "40").await;

    world.rearm("--fail-at", Point::Told).await;
    world.cancel(0, 100, &order_id).await;
    let _aborted = world.cluster.order[0].wait_exit().unwrap();
    assert_eq!(world.read(100).await.balance, ALL);
    assert_eq!(world.unfinished().await, 1);

    world.cluster.order[0].restart().unwrap();
    world.cluster.order[0].wait_ready().await.unwrap();
    world.check_books().await;
    assert_eq!(world.read(100).await.balance, ALL);
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_given_back_once_though_its_answer_was_lost_on_sqlite() {
    the_rest_is_given_back_once_though_its_answer_was_lost(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_is_given_back_once_though_its_answer_was_lost_on_postgresql() {
    the_rest_is_given_back_once_though_its_answer_was_lost(Backend::Postgres).await;
}

/// One pod sleeps before it tells, another one tells for it, and then the first tells too.
#[tokio::test(flavor = "multi_thread")]
async fn two_settlers_give_the_rest_back_once() {
    let mut world = World::start(Backend::Postgres, 2, &[]).await;
    let order_id = world.sell_out(1, 100).await;
    world.refund(100, &order_id, "mine", "40").await;

    world.rearm("--freeze-at", Point::BeforeTell).await;
    let cancelled = world.cancel(0, 100, &order_id);
    let frozen = until("the freeze", async || world.cluster.order[0].is_frozen());
    tokio::join!(cancelled, async {
        frozen.await;
        until("the other pod", async || world.unfinished().await == 0).await;
        world.cluster.order[0].thaw();
    });

    let settled = async || world.cluster.order[0].counter("order_settlements_total", &[]).await;
    until("the first pod", async || settled().await >= 1.0).await;
    assert_eq!(world.read(100).await.balance, ALL);
    world.check_books().await;
    world.cluster.stop().unwrap();
}

/// The hold was captured in part by a caller other than the order service: all that was taken comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_gives_back_a_capture_that_another_caller_made_in_part() {
    let mut world = World::start(Backend::Sqlite, 1, &[]).await;
    world.open_with_all(100).await;
    world.rearm("--freeze-at", Point::BeforeTell).await;
    let request = order_for_all(100);
    let placing = tests::ask::place(world.lazily(0), request.clone());
    let captured = async {
        until("the freeze", async || world.cluster.order[0].is_frozen()).await;
        let reserve_id = world.orders_of_key("key").await.remove(0);
        let (account_id, amount) = (100, "60".to_owned());
        let capture = CaptureRequest { account_id, reserve_id, amount };
        world.accounts().await.capture(capture).await.unwrap();
        world.cluster.order[0].thaw();
    };
    let (_lost, ()) = tokio::join!(placing, captured);

    let placed = persist(world.lazily(0), &request).await.unwrap();
    let refused =
        async || world.cluster.order[0].counter("order_settlements_refused_total", &[]).await;
    until("the refused capture", async || refused().await >= 1.0).await;
    world.cancel(0, 100, &placed.order.unwrap().order_id).await;
    until("the rest", async || world.read(100).await.balance == ALL).await;
    // The refused capture has nothing left to do.
    world.check_books().await;
    world.cluster.stop().unwrap();
}
