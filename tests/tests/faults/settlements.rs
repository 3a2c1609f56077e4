//! A settlement that the account service refuses is seen, told again when asked for, and can be given up by hand.

use std::process::{Command, Output};

use failpoint::Point;
use proto::account::v1::ReleaseRequest;
use serde_json::Value;
use tests::cluster::Service;

use crate::refunds::order_for_all;
use crate::world::{Backend, World, persist, until};

const ACCOUNT: i64 = 100;

impl World {
    /// An order whose hold another caller released before its capture was told.
    async fn order_without_its_hold(&mut self) -> String {
        self.open_with_all(ACCOUNT).await;
        self.rearm("--freeze-at", Point::BeforeTell).await;
        let request = order_for_all(ACCOUNT);
        let placing = tests::ask::place(self.lazily(0), request.clone());
        let released = async {
            until("the freeze", async || self.cluster.order[0].is_frozen()).await;
            let reserve_id = self.orders_of_key("key").await.remove(0);
            let release = ReleaseRequest { account_id: ACCOUNT, reserve_id };
            self.accounts().await.release(release).await.unwrap();
            self.cluster.order[0].thaw();
        };
        let (_lost, ()) = tokio::join!(placing, released);
        persist(self.lazily(0), &request).await.unwrap().order.unwrap().order_id
    }

    fn settlements(&self, arguments: &[&str]) -> Output {
        let database = &self.ground.databases.order;
        let mut program = Command::new(self.cluster.binaries().program(Service::Order));
        program.arg("settlements").args(arguments).args(["--database-url", database]);
        program.output().unwrap()
    }

    fn list(&self) -> Vec<Value> {
        let listed = self.settlements(&["list"]);
        assert!(listed.status.success(), "{listed:?}");
        lines(&listed)
    }

    async fn metric(&self, name: &str) -> f64 {
        self.cluster.order[0].counter(name, &[]).await
    }

    /// What is wrong with each pair of books: the order service's own, and both together.
    async fn breaches(&self) -> (Option<String>, Vec<String>) {
        let own = self.cluster.verify().err().map(|why| why.to_string());
        let report = holdfast_verify::verify(
            &self.books.account,
            &self.books.order,
            holdfast_verify::Settings::at_rest(),
        )
        .await
        .unwrap();
        (own, report.breaches.iter().map(|breach| format!("{breach:?}")).collect())
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the command says that ends in this exit code.
fn said(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

async fn a_refused_capture_is_seen_told_again_and_given_up_by_hand(backend: Backend) {
    let mut world = World::start(backend, 1, &[]).await;
    assert_eq!(world.metric("order_settlements_refused").await, 0.0);
    let order = world.order_without_its_hold().await;
    let account = ACCOUNT.to_string();
    let named = ["--account", &account, "--order", &order];

    // Seen: in metrics, by both verifies, in the list, and once in the log.
    until("the gauge", async || world.metric("order_settlements_refused").await == 1.0).await;
    until("its age", async || world.metric("order_outbox_oldest_seconds").await > 1.0).await;
    assert_eq!(world.metric("order_settlements_refused_total").await, 1.0);
    let (own, both) = world.breaches().await;
    let own = own.unwrap();
    assert!(own.contains("I5") && own.contains("RESERVATION_RELEASED"), "{own}");
    assert!(own.contains(&order), "{own}");
    assert_eq!(both.len(), 1, "{both:?}");
    let listed = world.list();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["account_id"], ACCOUNT);
    assert_eq!(listed[0]["order_id"], *order);
    assert_eq!(listed[0]["action"], "CAPTURE");
    assert_eq!(listed[0]["amount"], "100");
    assert_eq!(listed[0]["refused"], "RESERVATION_RELEASED");
    assert_eq!(listed[0]["attempts"], 1);

    // Told again when asked for, long before its pause is over.
    let retried = world.settlements(&["retry", named[0], named[1], named[2], named[3]]);
    assert_eq!(said(&retried, 0), "");
    until("a second refusal", async || {
        world.metric("order_settlements_refused_total").await >= 2.0
    })
    .await;
    let log = std::fs::read_to_string(world.cluster.order[0].log()).unwrap();
    assert_eq!(log.matches("the account service refuses what was decided").count(), 1, "{log}");

    // Given up by hand, and only what is there and refused.
    let resolve = |order: &str, action: &str| {
        let note = ["--note", "paid by invoice"];
        let row = ["resolve", "--account", &account, "--order", order, "--action", action];
        world.settlements(&[&row[..], &note[..]].concat())
    };
    let unknown = said(&resolve(&order, "REFUND"), 1);
    assert!(unknown.contains("no settlement of account 100"), "{unknown}");
    let resolved = resolve(&order, "CAPTURE");
    said(&resolved, 0);
    assert_eq!(lines(&resolved)[0]["refused"], "RESERVATION_RELEASED");
    said(&resolve(&order, "CAPTURE"), 1);
    assert_eq!(world.list(), Vec::<Value>::new());
    until("the gauge", async || world.metric("order_settlements_refused").await == 0.0).await;
    world.check_books().await;
    world.cluster.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_is_seen_told_again_and_given_up_by_hand_on_sqlite() {
    a_refused_capture_is_seen_told_again_and_given_up_by_hand(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_capture_is_seen_told_again_and_given_up_by_hand_on_postgresql() {
    a_refused_capture_is_seen_told_again_and_given_up_by_hand(Backend::Postgres).await;
}

/// What an operator would do first.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_a_refused_capture_whose_money_never_left_the_account() {
    let mut world = World::start(Backend::Sqlite, 1, &[]).await;
    let order = world.order_without_its_hold().await;
    until("the gauge", async || world.metric("order_settlements_refused").await == 1.0).await;

    world.cancel(0, ACCOUNT, &order).await;
    world.check_books().await;
    assert_eq!(world.read(ACCOUNT).await.balance, "100");
    world.cluster.stop().unwrap();
}
