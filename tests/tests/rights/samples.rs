//! One good request for each method that is served, and who may send it.

use prost::Message;
use proto::account::v1::{self as account, command::Command as Kind};
use proto::order::v1 as order;
use proto::right;
use tests::cluster::Service;

/// The account that all requests are about.
pub(crate) const ACCOUNT: i64 = 7;

/// An account that exists and is somebody else's, and one that does not exist.
pub(crate) const OTHERS: i64 = 8;
pub(crate) const ABSENT: i64 = 999;

/// Who may call a method, written down apart from the services' own tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Credential,
    Right(&'static str),
    Own { own: &'static str, any: &'static str },
}

/// A method, and a request that it answers with OK.
pub(crate) struct Sample {
    pub(crate) service: Service,
    pub(crate) method: &'static str,
    pub(crate) needs: Needs,
    pub(crate) message: Vec<u8>,
    /// The same about another account, where a request is about one.
    pub(crate) about: Option<fn(i64, &str) -> Vec<u8>>,
}

const READ: Needs = Needs::Own { own: right::LEDGER_OWN, any: right::LEDGER_ANY };
const SETTLE: Needs = Needs::Right(right::LEDGER_SETTLE);
const ADMIN: Needs = Needs::Right(right::LEDGER_ADMIN);
const ORDERS: Needs = Needs::Own { own: right::ORDERS_OWN, any: right::ORDERS_ANY };

/// Every method of both services, in an order in which each request finds what it needs. `order_id`: a placed order's.
pub(crate) fn all(order_id: &str) -> Vec<Sample> {
    let both = [Service::Account, Service::Order];
    let shared = both.into_iter().flat_map(infrastructure);
    ledger().into_iter().chain(orders(order_id)).chain(catalog()).chain(shared).collect()
}

fn ledger() -> Vec<Sample> {
    let sample = |method, needs, message| Sample {
        service: Service::Account,
        method,
        needs,
        message,
        about: None,
    };
    let own = |method, about: fn(i64, &str) -> Vec<u8>| Sample {
        about: Some(about),
        ..sample(method, READ, about(ACCOUNT, ""))
    };
    let capture = account::CaptureRequest {
        account_id: ACCOUNT,
        reserve_id: "r1".into(),
        amount: String::new(),
    };
    let refund = account::RefundRequest {
        account_id: ACCOUNT,
        reserve_id: "r1".into(),
        refund_id: "f1".into(),
        amount: "1".into(),
    };
    let release = account::ReleaseRequest { account_id: ACCOUNT, reserve_id: "r2".into() };
    let deposit = account::DepositRequest {
        account_id: ACCOUNT,
        amount: "1".into(),
        deposit_id: "d1".into(),
    };
    let caller = account::Position { database_id: "matrix".into(), epoch: 1, commits: Vec::new() };
    let apply = account::ApplyRequest {
        commands: vec![account::Command { command: Some(Kind::Reserve(reserve("r3"))) }],
        ledger_id: String::new(),
    };
    let reservation =
        account::GetReservationRequest { account_id: ACCOUNT, reserve_id: "r1".into() };
    vec![
        sample("account.v1.AccountService/OpenAccount", ADMIN, open(ACCOUNT).encode_to_vec()),
        sample("account.v1.AccountService/Deposit", ADMIN, deposit.encode_to_vec()),
        own("account.v1.AccountService/GetAccount", |account_id, _| {
            account::GetAccountRequest { account_id }.encode_to_vec()
        }),
        own("account.v1.AccountService/ListEntries", |account_id, _| {
            account::ListEntriesRequest { account_id, ..Default::default() }.encode_to_vec()
        }),
        sample("account.v1.AccountService/Reserve", SETTLE, reserve("r1").encode_to_vec()),
        sample("account.v1.AccountService/Capture", SETTLE, capture.encode_to_vec()),
        sample("account.v1.AccountService/Refund", SETTLE, refund.encode_to_vec()),
        sample("account.v1.AccountService/Release", SETTLE, release.encode_to_vec()),
        sample("account.v1.AccountService/Apply", SETTLE, apply.encode_to_vec()),
        sample(
            "account.v1.AccountService/Handshake",
            SETTLE,
            account::HandshakeRequest { caller: Some(caller) }.encode_to_vec(),
        ),
        sample("account.v1.AccountService/GetReservation", SETTLE, reservation.encode_to_vec()),
    ]
}

/// Opens an account of 1,000.
pub(crate) fn open(account_id: i64) -> account::OpenAccountRequest {
    account::OpenAccountRequest {
        account_id,
        currency: String::new(),
        opening_balance: "1000".into(),
    }
}

fn reserve(reserve_id: &str) -> account::ReserveRequest {
    account::ReserveRequest {
        account_id: ACCOUNT,
        amount: "10".into(),
        reserve_id: reserve_id.into(),
        order_id: "o1".into(),
        ..Default::default()
    }
}

/// Places an order for an amount.
pub(crate) fn place(account_id: i64) -> order::PlaceOrderRequest {
    order::PlaceOrderRequest {
        account_id,
        idempotency_key: "k1".into(),
        amount: "10".into(),
        ..Default::default()
    }
}

fn orders(order_id: &str) -> Vec<Sample> {
    let sample = |method, about: fn(i64, &str) -> Vec<u8>| Sample {
        service: Service::Order,
        method,
        needs: ORDERS,
        message: about(ACCOUNT, order_id),
        about: Some(about),
    };
    vec![
        sample("order.v1.OrderService/PlaceOrder", |account_id, _| {
            place(account_id).encode_to_vec()
        }),
        sample("order.v1.OrderService/GetOrder", |account_id, order_id| {
            order::GetOrderRequest { account_id, order_id: order_id.into() }.encode_to_vec()
        }),
        sample("order.v1.OrderService/ListOrders", |account_id, _| {
            order::ListOrdersRequest { account_id, ..Default::default() }.encode_to_vec()
        }),
        sample("order.v1.OrderService/GetPayment", |account_id, order_id| {
            order::GetPaymentRequest { account_id, order_id: order_id.into() }.encode_to_vec()
        }),
        sample("order.v1.OrderService/CancelOrder", |account_id, order_id| {
            order::CancelOrderRequest { account_id, order_id: order_id.into() }.encode_to_vec()
        }),
    ]
}

fn catalog() -> Vec<Sample> {
    let sample = |method, right, message| Sample {
        service: Service::Order,
        method,
        needs: Needs::Right(right),
        message,
        about: None,
    };
    let product = order::PutProductRequest {
        product_id: 1,
        name: "brick".into(),
        price: "10".into(),
        stock: 100,
        ..Default::default()
    };
    let adjustment =
        order::AdjustStockRequest { product_id: 1, delta: 1, adjustment_id: "a1".into() };
    vec![
        sample("order.v1.CatalogService/PutProduct", right::CATALOG_WRITE, product.encode_to_vec()),
        sample(
            "order.v1.CatalogService/AdjustStock",
            right::CATALOG_WRITE,
            adjustment.encode_to_vec(),
        ),
        sample(
            "order.v1.CatalogService/GetProduct",
            right::CATALOG_READ,
            order::GetProductRequest { product_id: 1 }.encode_to_vec(),
        ),
        sample(
            "order.v1.CatalogService/ListProducts",
            right::CATALOG_READ,
            order::ListProductsRequest::default().encode_to_vec(),
        ),
    ]
}

/// What every server serves. An empty health request asks for the server as a whole; a reflection request that lists
/// the services has field 7, an empty text.
fn infrastructure(service: Service) -> Vec<Sample> {
    let sample = |method, needs, message: &[u8]| Sample {
        service,
        method,
        needs,
        message: message.to_vec(),
        about: None,
    };
    const LIST_SERVICES: &[u8] = &[7 << 3 | 2, 0];
    vec![
        sample("grpc.health.v1.Health/Check", Needs::Nothing, &[]),
        sample("grpc.health.v1.Health/List", Needs::Nothing, &[]),
        sample("grpc.health.v1.Health/Watch", Needs::Nothing, &[]),
        sample(
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Needs::Credential,
            LIST_SERVICES,
        ),
        sample(
            "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            Needs::Credential,
            LIST_SERVICES,
        ),
    ]
}
