//! Every call of both services and every error of the error table, with the real grpcurl.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::cluster::{Plan, Pod};
use tests::grpcurl::{CallError, Grpcurl};

use crate::support::{Backend, World, until};

/// Numbers of the gRPC codes.
mod code {
    pub(super) const INVALID_ARGUMENT: i64 = 3;
    pub(super) const NOT_FOUND: i64 = 5;
    pub(super) const ALREADY_EXISTS: i64 = 6;
    pub(super) const FAILED_PRECONDITION: i64 = 9;
    pub(super) const ABORTED: i64 = 10;
    pub(super) const UNAVAILABLE: i64 = 14;
}

/// grpcurl against one pod of each service.
struct Hand {
    grpcurl: Grpcurl,
    account: SocketAddr,
    order: SocketAddr,
}

impl Hand {
    fn of(world: &World) -> Self {
        let (account, order) = (&world.cluster.account[0], &world.cluster.order[0]);
        let grpcurl = Grpcurl::find().unwrap();
        Self { grpcurl, account: account.address(), order: order.address() }
    }

    /// `AccountService/…`, `OrderService/…` or `CatalogService/…`.
    async fn call(&self, method: &str, message: Value) -> Result<Value, CallError> {
        let (target, package) = match method.starts_with("Account") {
            true => (self.account, "account.v1"),
            false => (self.order, "order.v1"),
        };
        self.grpcurl.call(target, &format!("{package}.{method}"), &message).await.unwrap()
    }

    async fn ok(&self, method: &str, message: Value) -> Value {
        self.call(method, message).await.unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    async fn refused(&self, method: &str, message: Value) -> CallError {
        match self.call(method, message).await {
            Err(error) => error,
            Ok(answer) => panic!("{method} was not refused: {answer}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_and_describes_both_services() {
    let world = World::start(Backend::Sqlite, Plan::default()).await;
    let hand = Hand::of(&world);
    let list = hand.grpcurl.reflect(hand.order, &["list"]).await.unwrap();
    for service in ["order.v1.OrderService", "order.v1.CatalogService", "grpc.health.v1.Health"] {
        assert!(list.lines().any(|line| line == service), "{list}");
    }
    let list = hand.grpcurl.reflect(hand.account, &["list"]).await.unwrap();
    assert!(list.lines().any(|line| line == "account.v1.AccountService"), "{list}");
    assert!(!list.contains("order.v1"), "a service that is not served is listed: {list}");
    let words = ["describe", "order.v1.PlaceOrderRequest"];
    let described = hand.grpcurl.reflect(hand.order, &words).await.unwrap();
    for field in ["int64 account_id = 1", "string idempotency_key = 2", "on_duplicate = 5"] {
        assert!(described.contains(field), "{described}");
    }
    let health = json!({"service": "order.v1.OrderService"});
    let method = "grpc.health.v1.Health/Check";
    let told = hand.grpcurl.call(hand.order, method, &health).await.unwrap().unwrap();
    assert_eq!(told["status"], "SERVING");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_account_service_answers() {
    let mut world = World::start(Backend::Sqlite, Plan::default()).await;
    let hand = Hand::of(&world);
    let account = hand
        .ok("AccountService/OpenAccount", json!({"account_id": 7, "opening_balance": "100.50"}))
        .await;
    assert_eq!((&account["balance"], &account["currency"]), (&json!("100.5"), &json!("USD")));
    let deposit = json!({"account_id": 7, "amount": "9.5", "deposit_id": "d-1"});
    let first = hand.ok("AccountService/Deposit", deposit.clone()).await;
    assert_eq!((&first["account"]["balance"], &first["replayed"]), (&json!("110"), &json!(false)));
    let again = hand.ok("AccountService/Deposit", deposit).await;
    assert_eq!((&again["account"]["balance"], &again["replayed"]), (&json!("110"), &json!(true)));

    let reserve = |id: &str, amount: &str| json!({"account_id": 7, "amount": amount, "reserve_id": id, "order_id": format!("o-{id}")});
    let held = hand.ok("AccountService/Reserve", reserve("r-1", "60")).await;
    assert_eq!(held["reservation"]["state"], "RESERVATION_STATE_HELD");
    assert_eq!(held["account"]["available"], "50");
    let named = |id: &str| json!({"account_id": 7, "reserve_id": id});
    let capture = json!({"account_id": 7, "reserve_id": "r-1", "amount": "45"});
    let captured = hand.ok("AccountService/Capture", capture).await;
    assert_eq!(captured["reservation"]["capturedAmount"], "45");
    assert_eq!(captured["account"]["available"], "65");
    let refund = json!({"account_id": 7, "reserve_id": "r-1", "refund_id": "f-1", "amount": "5"});
    let refunded = hand.ok("AccountService/Refund", refund).await;
    assert_eq!(refunded["account"]["balance"], "70");
    hand.ok("AccountService/Reserve", reserve("r-2", "70")).await;
    let released = hand.ok("AccountService/Release", named("r-2")).await;
    assert_eq!(released["reservation"]["state"], "RESERVATION_STATE_RELEASED");
    let read = hand.ok("AccountService/GetReservation", named("r-1")).await;
    assert_eq!(read["refundedAmount"], "5");

    let read = hand.ok("AccountService/GetAccount", json!({"account_id": 7})).await;
    assert_eq!((&read["balance"], &read["reserved"]), (&json!("70"), &json!("0")));
    let page = json!({"account_id": 7, "page_size": 3});
    let page = hand.ok("AccountService/ListEntries", page).await;
    let balances: Vec<&Value> =
        page["entries"].as_array().unwrap().iter().map(|entry| &entry["balance"]).collect();
    assert_eq!(balances, [&json!("70"), &json!("65"), &json!("110")]);
    let next = json!({"account_id": 7, "page_size": 3, "page_token": page["nextPageToken"]});
    let last = hand.ok("AccountService/ListEntries", next).await;
    assert_eq!(last["entries"][0]["kind"], "ENTRY_KIND_OPENING");
    assert_eq!(last["nextPageToken"], "");
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_order_service_answers() {
    let mut world = World::start(Backend::Sqlite, Plan::default()).await;
    let hand = Hand::of(&world);
    world.account(7, "1000").await;
    let product = json!({"product_id": 1, "name": "Anchor", "price": "99.50", "stock": 3});
    assert_eq!(hand.ok("CatalogService/PutProduct", product).await["price"], "99.5");
    let adjust = json!({"product_id": 1, "delta": 2, "adjustment_id": "delivery-1"});
    let adjusted = hand.ok("CatalogService/AdjustStock", adjust).await;
    assert_eq!(adjusted["product"]["stock"], "5");
    let listed = hand.ok("CatalogService/ListProducts", json!({})).await;
    assert_eq!(listed["products"].as_array().unwrap().len(), 1);

    let lines = json!([{"product_id": 1, "quantity": 2}]);
    let request = json!({"account_id": 7, "idempotency_key": "k-1", "lines": lines});
    let placed = hand.ok("OrderService/PlaceOrder", request.clone()).await;
    assert_eq!((&placed["order"]["amount"], &placed["replayed"]), (&json!("199"), &json!(false)));
    assert_eq!(placed["payment"]["status"], "PAYMENT_STATUS_COMPLETED");
    let replayed = hand.ok("OrderService/PlaceOrder", request).await;
    assert_eq!((&replayed["order"], &replayed["replayed"]), (&placed["order"], &json!(true)));
    assert_eq!(hand.ok("CatalogService/GetProduct", json!({"product_id": 1})).await["stock"], "3");

    let named = json!({"account_id": 7, "order_id": placed["order"]["orderId"]});
    assert_eq!(hand.ok("OrderService/GetOrder", named.clone()).await, placed["order"]);
    assert_eq!(hand.ok("OrderService/GetPayment", named.clone()).await["amount"], "199");
    let listed = hand.ok("OrderService/ListOrders", json!({"account_id": 7})).await;
    assert_eq!(listed["orders"], json!([placed["order"]]));
    for _twice in 0..2 {
        let cancelled = hand.ok("OrderService/CancelOrder", named.clone()).await;
        assert_eq!(cancelled["order"]["status"], "ORDER_STATUS_CANCELLED");
    }
    assert_eq!(hand.ok("CatalogService/GetProduct", json!({"product_id": 1})).await["stock"], "5");
    let back = async || world.read_account(7).await.unwrap().available == "1000";
    until("the money is back", back).await;
    world.stop_and_verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_of_the_error_table_is_told_with_its_code_and_reason() {
    let mut world = World::start(Backend::Sqlite, Plan::default()).await;
    let hand = Hand::of(&world);
    world.account(7, "1000").await;
    world.product(1, "10", 1).await;
    let place = |key: &str, amount: &str, on_duplicate: &str| {
        let mode = format!("ON_DUPLICATE_{on_duplicate}");
        json!({"account_id": 7, "idempotency_key": key, "amount": amount, "on_duplicate": mode})
    };
    let told =
        |error: &CallError| (error.code, error.reason().to_owned(), error.fact("code").to_owned());
    let expected = |code, reason: &str, short: &str| (code, reason.to_owned(), short.to_owned());

    let first = hand.ok("OrderService/PlaceOrder", place("done", "10", "REPLAY")).await;
    let e302 = hand.refused("OrderService/PlaceOrder", place("done", "10", "REJECT")).await;
    assert_eq!(told(&e302), expected(code::ALREADY_EXISTS, "PAYMENT_ALREADY_PROCESSED", "E302"));
    assert_eq!(e302.fact("order_id"), first["order"]["orderId"].as_str().unwrap());

    let e303 = hand.refused("OrderService/PlaceOrder", place("poor", "5000", "REPLAY")).await;
    assert_eq!(told(&e303), expected(code::FAILED_PRECONDITION, "PAYMENT_FAILED", "E303"));
    assert_eq!(e303.fact("cause"), "INSUFFICIENT_FUNDS");
    let stranger = json!({"account_id": 8, "idempotency_key": "k", "amount": "1"});
    let e303 = hand.refused("OrderService/PlaceOrder", stranger).await;
    assert_eq!(e303.fact("cause"), "ACCOUNT_NOT_FOUND");

    let nobody = json!({"account_id": 7, "order_id": "0199e0c4-0000-7000-8000-000000000000"});
    let e304 = hand.refused("OrderService/GetPayment", nobody).await;
    assert_eq!(told(&e304), expected(code::NOT_FOUND, "PAYMENT_NOT_FOUND", "E304"));

    let e305 = hand.refused("OrderService/PlaceOrder", place("done", "11", "REPLAY")).await;
    assert_eq!(told(&e305), expected(code::INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED", "E305"));

    let lines = json!([{"product_id": 1, "quantity": 2}]);
    let greedy = json!({"account_id": 7, "idempotency_key": "greedy", "lines": lines});
    for _twice in 0..2 {
        let e306 = hand.refused("OrderService/PlaceOrder", greedy.clone()).await;
        assert_eq!(told(&e306), expected(code::FAILED_PRECONDITION, "OUT_OF_STOCK", "E306"));
        assert_eq!(e306.fact("product_id"), "1");
    }

    // While the account service is silent the first request is being worked on.
    world.cluster.account.iter().for_each(Pod::freeze);
    let pod = &world.cluster.order[0];
    let (slow, rejected) =
        tokio::join!(hand.call("OrderService/PlaceOrder", place("slow", "10", "REPLAY")), async {
            until("the first request runs", async || calls_in_flight(pod).await == 1.0).await;
            let e301 = hand.refused("OrderService/PlaceOrder", place("slow", "10", "REJECT")).await;
            world.cluster.account.iter().for_each(Pod::thaw);
            e301
        });
    let e301 = expected(code::ABORTED, "DUPLICATE_PAYMENT_REQUEST", "E301");
    assert_eq!(told(&rejected), e301);
    assert!(rejected.detail("RetryInfo").is_some(), "{rejected:?}");
    assert_eq!(slow.unwrap()["replayed"], false);

    world.cluster.account.iter_mut().for_each(|pod| pod.kill().unwrap());
    let unknown = hand.refused("OrderService/PlaceOrder", place("later", "10", "REPLAY")).await;
    assert_eq!(unknown.code, code::UNAVAILABLE, "{unknown:?}");
    assert!(unknown.detail("RetryInfo").is_some(), "{unknown:?}");
    for pod in &mut world.cluster.account {
        pod.restart().unwrap();
        pod.wait_ready().await.unwrap();
    }
    let placed =
        async || hand.call("OrderService/PlaceOrder", place("later", "10", "REPLAY")).await;
    until("the order is placed", async || placed().await.is_ok()).await;
    world.settled_account(7).await;
    world.stop_and_verify().await;
}

/// As the pod itself tells it.
async fn calls_in_flight(pod: &Pod) -> f64 {
    let (_, metrics) = pod.get("/q/metrics").await.unwrap();
    let told = metrics.lines().find_map(|line| line.strip_prefix("grpc_server_calls_in_flight "));
    told.unwrap().parse().unwrap()
}
