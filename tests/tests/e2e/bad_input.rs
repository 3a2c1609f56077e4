//! Every field of every changing call, given what it must not take.
//!
//! Each is INVALID_ARGUMENT with a BadRequest that names the field, or the NOT_FOUND of what it
//! names; nothing panics and nothing is stored.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::cluster::Plan;
use tests::grpcurl::Grpcurl;

use crate::support::{Backend, World};

const INVALID_ARGUMENT: i64 = 3;
const NOT_FOUND: i64 = 5;
const RESOURCE_EXHAUSTED: i64 = 8;

/// What an amount must not be.
const BAD_AMOUNTS: [&str; 11] =
    ["0", "-1", "+1", "1e3", "1.00001", "1000000000000000", "NaN", " 1", "1.", ".5", "1,5"];

struct Matrix {
    grpcurl: Grpcurl,
    account: SocketAddr,
    order: SocketAddr,
    wrong: Vec<String>,
    cases: usize,
}

impl Matrix {
    async fn call(&mut self, method: &str, message: &Value) -> (i64, Vec<String>, String) {
        self.cases += 1;
        let target = if method.starts_with("account") { self.account } else { self.order };
        match self.grpcurl.call(target, method, message).await.unwrap() {
            Ok(answer) => (0, Vec::new(), answer.to_string()),
            Err(error) => {
                let fields = error.fields().into_iter().map(str::to_owned).collect();
                (error.code, fields, format!("{error:?}"))
            }
        }
    }

    /// Puts each bad value into one field of a good message.
    async fn field(&mut self, method: &str, good: &Value, field: &str, bad: &[Value]) {
        for value in bad {
            let mut message = good.clone();
            message[field] = value.clone();
            self.message(method, &message, field).await;
        }
    }

    /// The message must be refused, naming this field or one inside of it.
    async fn message(&mut self, method: &str, message: &Value, field: &str) {
        let (code, fields, told) = self.call(method, message).await;
        let names_it = fields.iter().any(|named| named.starts_with(field));
        if code != INVALID_ARGUMENT || !names_it {
            let shown: String = message.to_string().chars().take(200).collect();
            self.wrong.push(format!("{method} {shown} ({field}): {told}"));
        }
    }

    async fn code(&mut self, method: &str, message: Value, expected: i64) {
        let (code, _, told) = self.call(method, &message).await;
        if code != expected {
            let shown: String = message.to_string().chars().take(200).collect();
            self.wrong.push(format!("{method} {shown}: code {expected} was expected: {told}"));
        }
    }
}

fn amounts() -> Vec<Value> {
    BAD_AMOUNTS.iter().map(|amount| json!(amount)).collect()
}

fn required_amounts() -> Vec<Value> {
    amounts().into_iter().chain([json!("")]).collect()
}

fn numbers() -> Vec<Value> {
    vec![json!(0), json!(-1), json!(i64::MIN)]
}

/// Empty, too long, not printable, not ASCII.
fn texts() -> Vec<Value> {
    vec![json!(""), json!("x".repeat(129)), json!("a\nb"), json!("a\u{0}b"), json!("schlüssel")]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_by_field_and_leaves_nothing() {
    let mut world = World::start(Backend::Sqlite, Plan::default()).await;
    world.account(7, "1000").await;
    world.product(1, "10", 5).await;
    let (account, order) = (&world.cluster.account[0], &world.cluster.order[0]);
    let mut matrix = Matrix {
        grpcurl: Grpcurl::find().unwrap(),
        account: account.address(),
        order: order.address(),
        wrong: Vec::new(),
        cases: 0,
    };
    account_fields(&mut matrix).await;
    order_fields(&mut matrix).await;
    catalog_fields(&mut matrix).await;
    what_is_not_there(&mut matrix).await;
    assert!(matrix.wrong.is_empty(), "{}", matrix.wrong.join("\n"));
    assert!(matrix.cases > 150, "{} cases", matrix.cases);

    assert_eq!(world.orders_of(0, 7).await, []);
    let account = world.read_account(7).await.unwrap();
    assert_eq!((account.balance.as_str(), account.reserved.as_str()), ("1000", "0"));
    for pod in world.cluster.account.iter().chain(&world.cluster.order) {
        let (_, metrics) = pod.get("/q/metrics").await.unwrap();
        assert!(!metrics.contains("grpc_server_panics_total"), "{} panicked", pod.name());
    }
    world.stop_and_verify().await;
}

fn currencies() -> [Value; 5] {
    [json!("EURO"), json!("eur"), json!("XX"), json!("ZZZ"), json!("E R")]
}

/// More decimal places than dollars and euros have.
fn finer_than_a_cent() -> [Value; 2] {
    [json!("1.001"), json!("0.0001")]
}

async fn account_fields(matrix: &mut Matrix) {
    let service = "account.v1.AccountService";
    let open = json!({"account_id": 8, "currency": "EUR", "opening_balance": "1"});
    let method = format!("{service}/OpenAccount");
    matrix.field(&method, &open, "account_id", &numbers()).await;
    matrix.field(&method, &open, "currency", &currencies()).await;
    matrix.field(&method, &open, "opening_balance", &finer_than_a_cent()).await;
    let openings: Vec<Value> = amounts().into_iter().filter(|amount| amount != "0").collect();
    matrix.field(&method, &open, "opening_balance", &openings).await;

    let deposit = json!({"account_id": 7, "amount": "1", "deposit_id": "d"});
    let method = format!("{service}/Deposit");
    matrix.field(&method, &deposit, "account_id", &numbers()).await;
    matrix.field(&method, &deposit, "amount", &required_amounts()).await;
    matrix.field(&method, &deposit, "amount", &finer_than_a_cent()).await;
    matrix.field(&method, &deposit, "deposit_id", &texts()).await;

    let reserve = json!({"account_id": 7, "amount": "1", "reserve_id": "r", "order_id": "o"});
    let method = format!("{service}/Reserve");
    matrix.field(&method, &reserve, "account_id", &numbers()).await;
    matrix.field(&method, &reserve, "amount", &required_amounts()).await;
    matrix.field(&method, &reserve, "currency", &currencies()).await;
    matrix.field(&method, &reserve, "reserve_id", &texts()).await;
    matrix.field(&method, &reserve, "order_id", &texts()).await;
    let ttls = [json!("0s"), json!("-5s"), json!("0.5s"), json!("2592001s")];
    matrix.field(&method, &reserve, "ttl", &ttls).await;

    let capture = json!({"account_id": 7, "reserve_id": "r", "amount": "1"});
    let method = format!("{service}/Capture");
    matrix.field(&method, &capture, "account_id", &numbers()).await;
    matrix.field(&method, &capture, "reserve_id", &texts()).await;
    matrix.field(&method, &capture, "amount", &amounts()).await;
    let method = format!("{service}/Release");
    let release = json!({"account_id": 7, "reserve_id": "r"});
    matrix.field(&method, &release, "account_id", &numbers()).await;
    matrix.field(&method, &release, "reserve_id", &texts()).await;
    let refund = json!({"account_id": 7, "reserve_id": "r", "refund_id": "f", "amount": "1"});
    let method = format!("{service}/Refund");
    matrix.field(&method, &refund, "account_id", &numbers()).await;
    matrix.field(&method, &refund, "reserve_id", &texts()).await;
    matrix.field(&method, &refund, "refund_id", &texts()).await;
    matrix.field(&method, &refund, "amount", &amounts()).await;
    pages(matrix, &format!("{service}/ListEntries"), &json!({"account_id": 7})).await;
}

async fn order_fields(matrix: &mut Matrix) {
    let service = "order.v1.OrderService";
    let method = format!("{service}/PlaceOrder");
    let place = json!({"account_id": 7, "idempotency_key": "k", "amount": "1"});
    matrix.field(&method, &place, "account_id", &numbers()).await;
    matrix.field(&method, &place, "idempotency_key", &texts()).await;
    matrix.field(&method, &place, "amount", &amounts()).await;
    matrix.field(&method, &place, "amount", &finer_than_a_cent()).await;
    matrix.field(&method, &place, "currency", &currencies()).await;
    matrix.field(&method, &place, "on_duplicate", &[json!(9)]).await;

    let with = |lines: Value| json!({"account_id": 7, "idempotency_key": "k", "lines": lines});
    let line = |product: i64, quantity: i64| json!({"product_id": product, "quantity": quantity});
    let mut both = with(json!([line(1, 1)]));
    both["amount"] = json!("10");
    matrix.message(&method, &both, "lines").await;
    matrix.message(&method, &json!({"account_id": 7, "idempotency_key": "k"}), "amount").await;
    let many: Vec<Value> = (1..=10_000).map(|product| line(product, 1)).collect();
    for lines in [
        json!([line(0, 1)]),
        json!([line(-1, 1)]),
        json!([line(1, 0)]),
        json!([line(1, -1)]),
        json!([line(1, i64::MAX)]),
        json!([line(1, 1), line(1, 1)]),
        json!(many),
    ] {
        matrix.message(&method, &with(lines), "lines").await;
    }
    for (call, id) in
        [("GetOrder", "order_id"), ("CancelOrder", "order_id"), ("GetPayment", "order_id")]
    {
        let good = json!({"account_id": 7, id: "0199e0c4-0000-7000-8000-000000000000"});
        let method = format!("{service}/{call}");
        matrix.field(&method, &good, "account_id", &numbers()).await;
        matrix.field(&method, &good, id, &[json!(""), json!("not-a-uuid"), json!("x\n")]).await;
    }
    pages(matrix, &format!("{service}/ListOrders"), &json!({"account_id": 7})).await;
}

async fn catalog_fields(matrix: &mut Matrix) {
    let service = "order.v1.CatalogService";
    let method = format!("{service}/PutProduct");
    let product = json!({"product_id": 2, "name": "Rope", "price": "1", "stock": 1});
    matrix.field(&method, &product, "product_id", &numbers()).await;
    let names = [json!(""), json!("x".repeat(201)), json!("a\u{7}b")];
    matrix.field(&method, &product, "name", &names).await;
    matrix.field(&method, &product, "price", &required_amounts()).await;
    matrix.field(&method, &product, "price", &finer_than_a_cent()).await;
    matrix.field(&method, &product, "currency", &currencies()).await;
    let stocks = [json!(-1), json!(1_000_000_000_001_i64), json!(i64::MAX)];
    matrix.field(&method, &product, "stock", &stocks).await;
    let method = format!("{service}/AdjustStock");
    let adjust = json!({"product_id": 1, "delta": 1, "adjustment_id": "a"});
    matrix.field(&method, &adjust, "product_id", &numbers()).await;
    matrix.field(&method, &adjust, "delta", &[json!(0)]).await;
    matrix.field(&method, &adjust, "adjustment_id", &texts()).await;
    pages(matrix, &format!("{service}/ListProducts"), &json!({})).await;
}

/// Page sizes below zero, page tokens made up.
async fn pages(matrix: &mut Matrix, method: &str, good: &Value) {
    matrix.field(method, good, "page_size", &[json!(-1)]).await;
    let tokens = [json!("made up"), json!("AAAA"), json!("!"), json!("x".repeat(5_000))];
    matrix.field(method, good, "page_token", &tokens).await;
}

async fn what_is_not_there(matrix: &mut Matrix) {
    let (account, order) = ("account.v1.AccountService", "order.v1.OrderService");
    let catalog = "order.v1.CatalogService";
    let nobody = json!({"account_id": 99});
    matrix.code(&format!("{account}/GetAccount"), nobody, NOT_FOUND).await;
    let deposit = json!({"account_id": 99, "amount": "1", "deposit_id": "d"});
    matrix.code(&format!("{account}/Deposit"), deposit, NOT_FOUND).await;
    let reservation = json!({"account_id": 7, "reserve_id": "never"});
    matrix.code(&format!("{account}/GetReservation"), reservation.clone(), NOT_FOUND).await;
    matrix.code(&format!("{account}/Capture"), reservation, NOT_FOUND).await;
    let id = "0199e0c4-0000-7000-8000-000000000000";
    let nothing = json!({"account_id": 7, "order_id": id});
    for call in ["GetOrder", "CancelOrder", "GetPayment"] {
        matrix.code(&format!("{order}/{call}"), nothing.clone(), NOT_FOUND).await;
    }
    let unknown = json!([{"product_id": 99, "quantity": 1}]);
    let place = json!({"account_id": 7, "idempotency_key": "unknown", "lines": unknown});
    matrix.code(&format!("{order}/PlaceOrder"), place, NOT_FOUND).await;
    matrix.code(&format!("{catalog}/GetProduct"), json!({"product_id": 99}), NOT_FOUND).await;
    let adjust = json!({"product_id": 99, "delta": 1, "adjustment_id": "a"});
    matrix.code(&format!("{catalog}/AdjustStock"), adjust, NOT_FOUND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_size_limit_is_refused() {
    use proto::order::v1::PutProductRequest;
    let world = World::start(Backend::Sqlite, Plan::default()).await;
    let request = PutProductRequest {
        product_id: 1,
        name: "x".repeat(2 * 1024 * 1024),
        price: "1".to_owned(),
        stock: 1,
        currency: String::new(),
    };
    let refused = world.clients.catalog.clone().put_product(request).await.unwrap_err();
    assert_eq!(refused.code() as i64, RESOURCE_EXHAUSTED, "{refused}");
    assert!(refused.message().contains("1048576"), "{refused}");
}
