//! The audit trail of both services: what is done, by whom, and what came of it.

use std::path::{Path, PathBuf};

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{DepositRequest, OpenAccountRequest};
use proto::order::v1::{
    AdjustStockRequest, CancelOrderRequest, GetOrderRequest, OnDuplicate, PlaceOrderRequest,
    PutProductRequest,
};
use serde_json::{Value, json};
use tests::cluster::{Binaries, Cluster, Plan, connect};
use tonic::Request;

use crate::support::{Backend, World, order, until};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// One pod of each service, whose trails are files.
struct Audited {
    world: World,
    account: PathBuf,
    order: PathBuf,
    _directory: tempfile::TempDir,
}

impl Audited {
    async fn start() -> Self {
        Self::start_with(Backend::Sqlite, &[]).await
    }

    /// With further flags for order-service.
    async fn start_with(backend: Backend, more: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [account, order] = ["account", "order"].map(|name| directory.path().join(name));
        let flags = |path: &Path| vec!["--audit-log".to_owned(), path.display().to_string()];
        let plan = Plan {
            account_pods: 1,
            order_pods: 1,
            account_flags: flags(&account),
            order_flags: [flags(&order), more.to_vec()].concat(),
            ..Plan::default()
        };
        let world = World::start(backend, plan).await;
        Self { world, account, order, _directory: directory }
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    // What comes after the last newline is being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of a method, by its last word.
fn of(path: &Path, method: &str) -> Vec<Value> {
    let ends_so = |line: &Value| line["method"].as_str().unwrap().ends_with(method);
    lines(path).into_iter().filter(ends_so).collect()
}

/// Waits for so many lines of a method: a line is written after its call was answered.
async fn some(path: &Path, method: &str, count: usize) -> Vec<Value> {
    until(method, async || of(path, method).len() >= count).await;
    of(path, method)
}

/// What a line says of these names.
fn says(line: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), line[*name].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_the_order_service_tells_each_change_and_no_read() {
    let audited = Audited::start().await;
    let (world, trail) = (&audited.world, &audited.order);
    let orders = world.clients.orders[0].clone();
    world.account(1, "100").await;
    world.product(1, "10", 5).await;

    let mut request = Request::new(order(1, "k1", "30"));
    request.metadata_mut().insert("traceparent", TRACE.parse().unwrap());
    let placed = orders.clone().place_order(request).await.unwrap().into_inner();
    let order_id = placed.order.unwrap().order_id;
    orders.clone().place_order(order(1, "k1", "30")).await.unwrap();
    let reject = OnDuplicate::Reject.into();
    let again = PlaceOrderRequest { on_duplicate: reject, ..order(1, "k1", "30") };
    orders.clone().place_order(again).await.unwrap_err();
    orders.clone().place_order(order(1, "k2", "1000")).await.unwrap_err();
    orders.clone().place_order(order(0, "k3", "1")).await.unwrap_err();
    let read = GetOrderRequest { account_id: 1, order_id: order_id.clone() };
    orders.clone().get_order(read).await.unwrap();
    let cancel = CancelOrderRequest { account_id: 1, order_id: order_id.clone() };
    orders.clone().cancel_order(cancel).await.unwrap();
    let adjust = AdjustStockRequest { product_id: 1, delta: -9, adjustment_id: "lost".to_owned() };
    world.clients.catalog.clone().adjust_stock(adjust).await.unwrap_err();

    let placed = some(trail, "/PlaceOrder", 5).await;
    let names = ["account_id", "idempotency_key", "order_id", "replayed", "code", "reason"];
    let said: Vec<_> = placed.iter().map(|line| says(line, &names)).collect();
    let first = json!({
        "account_id": 1, "idempotency_key": "k1", "order_id": order_id, "replayed": false,
        "code": "OK", "reason": null,
    });
    let changed = |changes: Value| {
        let mut line = first.clone();
        line.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        line
    };
    let expected = [
        first.clone(),
        changed(json!({ "replayed": true })),
        changed(json!({
            "replayed": null, "code": "ALREADY_EXISTS", "reason": "PAYMENT_ALREADY_PROCESSED",
        })),
        changed(json!({
            "idempotency_key": "k2", "order_id": null, "replayed": null,
            "code": "FAILED_PRECONDITION", "reason": "PAYMENT_FAILED",
        })),
        changed(json!({
            "account_id": null, "idempotency_key": null, "order_id": null, "replayed": null,
            "code": "INVALID_ARGUMENT", "reason": "INVALID_REQUEST",
        })),
    ];
    assert_eq!(said, expected);
    let first = &placed[0];
    assert_eq!(first["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(
        says(first, &["target", "principal", "amount", "currency"]),
        json!({ "target": "audit", "principal": "anonymous", "amount": "30", "currency": "USD" })
    );

    let cancelled = &some(trail, "/CancelOrder", 1).await[0];
    assert_eq!(
        says(cancelled, &["account_id", "order_id", "code"]),
        json!({ "account_id": 1, "order_id": order_id, "code": "OK" })
    );
    let put = &some(trail, "/PutProduct", 1).await[0];
    assert_eq!(
        says(put, &["product_id", "price", "stock", "code"]),
        json!({ "product_id": 1, "price": "10", "stock": 5, "code": "OK" })
    );
    let adjusted = &some(trail, "/AdjustStock", 1).await[0];
    assert_eq!(
        says(adjusted, &["product_id", "adjustment_id", "delta", "code", "reason"]),
        json!({
            "product_id": 1, "adjustment_id": "lost", "delta": -9,
            "code": "FAILED_PRECONDITION", "reason": "OUT_OF_STOCK",
        })
    );
    assert!(of(trail, "/GetOrder").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_the_account_service_follows_an_order_to_its_refund() {
    let mut audited = Audited::start().await;
    let trail = audited.account.clone();
    let world = &mut audited.world;
    world.account(1, "100").await;
    let deposit =
        DepositRequest { account_id: 1, amount: "5".to_owned(), deposit_id: "d1".to_owned() };
    for _ in 0..2 {
        world.clients.accounts.clone().deposit(deposit.clone()).await.unwrap();
    }
    let orders = world.clients.orders[0].clone();
    let placed = orders.clone().place_order(order(1, "k1", "30")).await.unwrap().into_inner();
    let order_id = placed.order.unwrap().order_id;
    world.settled_account(1).await;
    let cancel = CancelOrderRequest { account_id: 1, order_id: order_id.clone() };
    orders.clone().cancel_order(cancel).await.unwrap();
    until("the money back", async || world.read_account(1).await.unwrap().balance == "105").await;
    // A server that left has written all of its lines.
    world.stop_and_verify().await;

    let opened = &of(&trail, "/OpenAccount")[0];
    assert_eq!(
        says(opened, &["account_id", "amount", "code"]),
        json!({ "account_id": 1, "amount": "100", "code": "OK" })
    );
    let deposits: Vec<_> = of(&trail, "/Deposit")
        .iter()
        .map(|line| says(line, &["account_id", "deposit_id", "amount", "replayed"]))
        .collect();
    let deposited = |replayed| json!({ "account_id": 1, "deposit_id": "d1", "amount": "5", "replayed": replayed });
    assert_eq!(deposits, [deposited(false), deposited(true)]);

    let applied = of(&trail, "/Apply");
    let commands = applied.iter().flat_map(|line| line["commands"].as_array().unwrap());
    let about: Vec<_> = commands.filter(|command| command["reserve_id"] == *order_id).collect();
    let done: Vec<_> = about.iter().map(|c| says(c, &["command", "outcome"])).collect();
    for command in ["reserve", "capture", "refund"] {
        let wanted = json!({ "command": command, "outcome": "done" });
        assert!(done.contains(&wanted), "{command} is missing in {done:?}");
    }
    assert!(about.iter().all(|command| command["account_id"] == 1), "{about:?}");
}

const ALICE: &str = "spiffe://shop/alice";
const CLERK: &str = "spiffe://shop/clerk";

/// Callers are told by what a proxy on this host says of them.
fn behind_a_proxy(roles: &Path) -> Vec<String> {
    let text = json!({ "callers": [
        { "certificate": ALICE, "rights": ["orders:own"], "accounts": [1] },
        { "certificate": CLERK, "rights": ["catalog:write", "ledger:admin"] },
    ] });
    std::fs::write(roles, text.to_string()).unwrap();
    let roles = roles.display().to_string();
    let flags = [
        "--auth",
        "mtls",
        "--auth-trusted-header",
        "l5d-client-id",
        "--auth-trusted-peers",
        "127.0.0.0/8",
        "--auth-roles",
        &roles,
    ];
    flags.map(str::to_owned).to_vec()
}

fn from<T>(caller: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("l5d-client-id", caller.parse().unwrap());
    request
}

async fn those_who_may_not_are_named_and_those_who_did_are_kept(backend: Backend) {
    let directory = tempfile::tempdir().unwrap();
    let flags = behind_a_proxy(&directory.path().join("roles.json"));
    let audited = Audited::start_with(backend, &flags).await;
    let (world, trail) = (&audited.world, &audited.order);
    let (orders, catalog) = (&world.clients.orders[0], &world.clients.catalog);
    world.account(1, "100").await;
    let put = PutProductRequest {
        product_id: 1,
        name: "anchor".to_owned(),
        price: "1".to_owned(),
        stock: 1,
        currency: String::new(),
    };
    catalog.clone().put_product(from(CLERK, put.clone())).await.unwrap();
    catalog.clone().put_product(from(ALICE, put)).await.unwrap_err();
    let adjust = AdjustStockRequest { product_id: 1, delta: 1, adjustment_id: "a".to_owned() };
    catalog.clone().adjust_stock(from(CLERK, adjust)).await.unwrap();
    let placed = orders.clone().place_order(from(ALICE, order(1, "k", "30"))).await.unwrap();
    let order_id = placed.into_inner().order.unwrap().order_id;
    orders.clone().place_order(from(ALICE, order(2, "k", "30"))).await.unwrap_err();
    orders.clone().place_order(order(1, "k", "30")).await.unwrap_err();
    let cancel = CancelOrderRequest { account_id: 1, order_id };
    orders.clone().cancel_order(from(ALICE, cancel)).await.unwrap();

    let said = |lines: Vec<Value>| -> Vec<Value> {
        let names = ["principal", "credential", "account_id", "code", "reason"];
        lines.iter().map(|line| says(line, &names)).collect()
    };
    let denied = "PERMISSION_DENIED";
    let expected = [
        json!({ "principal": ALICE, "credential": "forwarded", "account_id": 1, "code": "OK",
            "reason": null }),
        json!({ "principal": ALICE, "credential": "forwarded", "account_id": 2, "code": denied,
            "reason": denied }),
        json!({ "principal": null, "credential": null, "account_id": null,
            "code": "UNAUTHENTICATED", "reason": "UNAUTHENTICATED" }),
    ];
    assert_eq!(said(some(trail, "/PlaceOrder", 3).await), expected);
    let put = said(some(trail, "/PutProduct", 2).await);
    assert_eq!(
        put[1],
        json!({ "principal": ALICE, "credential": "forwarded", "account_id": null,
            "code": denied, "reason": denied })
    );

    let kept =
        "SELECT cancelled_by FROM orders UNION ALL SELECT adjusted_by FROM stock_adjustments";
    let expected = [ALICE, CLERK].map(|caller| Some(format!("forwarded:{caller}")));
    assert_eq!(column(&world.cluster.databases().order, kept).await, expected);
}

async fn column(url: &str, sql: &'static str) -> Vec<Option<String>> {
    use sqlx::Connection;
    if url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_may_not_are_named_and_those_who_did_are_kept_on_sqlite() {
    those_who_may_not_are_named_and_those_who_did_are_kept(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_may_not_are_named_and_those_who_did_are_kept_on_postgresql() {
    those_who_may_not_are_named_and_those_who_did_are_kept(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_paid_money_in_is_kept_with_the_deposit() {
    let directory = tempfile::tempdir().unwrap();
    let account_flags = behind_a_proxy(&directory.path().join("roles.json"));
    let plan = Plan { account_pods: 1, order_pods: 0, account_flags, ..Plan::default() };
    let cluster = Cluster::start(Binaries::build().unwrap(), plan).await.unwrap();
    let channel = connect(&cluster.account[0]).await.unwrap();
    let mut accounts = AccountServiceClient::new(channel);
    let open = OpenAccountRequest { account_id: 1, ..OpenAccountRequest::default() };
    accounts.open_account(from(CLERK, open)).await.unwrap();
    let deposit =
        DepositRequest { account_id: 1, amount: "5".to_owned(), deposit_id: "d1".to_owned() };
    accounts.deposit(from(ALICE, deposit.clone())).await.unwrap_err();
    accounts.deposit(from(CLERK, deposit)).await.unwrap();
    let kept = column(&cluster.databases().account, "SELECT deposited_by FROM deposits").await;
    assert_eq!(kept, [Some(format!("forwarded:{CLERK}"))]);
}
