//! Good requests of every method, to be changed.

use prost::Message;
use proto::account::v1 as account;
use proto::order::v1 as order;

use crate::cluster::Service;

pub(super) const ACCOUNT: i64 = 7;
pub(super) const PRODUCT: i64 = 1;

/// One method and what it usually takes.
pub(super) struct Sample {
    pub(super) service: Service,
    pub(super) method: &'static str,
    pub(super) messages: Vec<Vec<u8>>,
}

/// What a world that was begun has given out.
pub(super) struct Known {
    pub(super) order_id: String,
    pub(super) entries_token: String,
    pub(super) orders_token: String,
    pub(super) products_token: String,
}

fn sample(service: Service, method: &'static str, messages: &[&dyn Encoded]) -> Sample {
    let messages = messages.iter().map(|message| message.encoded()).collect();
    Sample { service, method, messages }
}

/// Messages of several types in one list.
trait Encoded {
    fn encoded(&self) -> Vec<u8>;
}

impl<M: Message> Encoded for M {
    fn encoded(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// The calls of both services.
pub(super) fn all(known: &Known) -> Vec<Sample> {
    let mut samples = of_accounts(known);
    samples.extend(of_orders(known));
    samples.extend(of_catalog(known));
    samples
}

fn of_accounts(known: &Known) -> Vec<Sample> {
    let of = |method, messages: &[&dyn Encoded]| sample(Service::Account, method, messages);
    let account_id = ACCOUNT;
    let (reserve_id, amount) = (text("r1"), text("12.5"));
    let ttl = Some(prost_types::Duration { seconds: 60, nanos: 5 });
    let reserve = account::ReserveRequest {
        account_id,
        amount: amount.clone(),
        reserve_id: reserve_id.clone(),
        order_id: text("o1"),
        ttl,
        currency: text("USD"),
    };
    let refund_id = text("f1");
    let page_token = known.entries_token.clone();
    let capture =
        account::CaptureRequest { account_id, reserve_id: reserve_id.clone(), amount: text("") };
    vec![
        of(
            "/account.v1.AccountService/OpenAccount",
            &[&account::OpenAccountRequest {
                account_id: 8,
                currency: text("EUR"),
                opening_balance: text("100.25"),
            }],
        ),
        of(
            "/account.v1.AccountService/Deposit",
            &[&account::DepositRequest {
                account_id,
                amount: amount.clone(),
                deposit_id: text("d1"),
            }],
        ),
        of("/account.v1.AccountService/GetAccount", &[&account::GetAccountRequest { account_id }]),
        of("/account.v1.AccountService/Reserve", &[&reserve]),
        of("/account.v1.AccountService/Capture", &[&capture]),
        of(
            "/account.v1.AccountService/Release",
            &[&account::ReleaseRequest { account_id, reserve_id: text("r2") }],
        ),
        of(
            "/account.v1.AccountService/Refund",
            &[&account::RefundRequest {
                account_id,
                reserve_id: reserve_id.clone(),
                refund_id,
                amount,
            }],
        ),
        of(
            "/account.v1.AccountService/GetReservation",
            &[&account::GetReservationRequest { account_id, reserve_id }],
        ),
        of(
            "/account.v1.AccountService/ListEntries",
            &[&account::ListEntriesRequest { account_id, page_size: 3, page_token }],
        ),
        of("/account.v1.AccountService/Apply", &[&apply(reserve), &apply_capture(capture)]),
        of(
            "/account.v1.AccountService/Handshake",
            &[&account::HandshakeRequest { caller: Some(stranger()) }],
        ),
    ]
}

/// Not the order service of this world: what is said of that one would count.
fn stranger() -> account::Position {
    let database_id = text("0199f0a0-0000-7000-8000-000000000001");
    account::Position { database_id, epoch: 1, commits: vec![1; 256] }
}

fn apply(reserve: account::ReserveRequest) -> account::ApplyRequest {
    let command = account::Command { command: Some(account::command::Command::Reserve(reserve)) };
    account::ApplyRequest { commands: vec![command], ..account::ApplyRequest::default() }
}

fn apply_capture(capture: account::CaptureRequest) -> account::ApplyRequest {
    let command = account::Command { command: Some(account::command::Command::Capture(capture)) };
    let commands = vec![command.clone(), command];
    account::ApplyRequest { commands, ..account::ApplyRequest::default() }
}

fn of_orders(known: &Known) -> Vec<Sample> {
    let of = |method, messages: &[&dyn Encoded]| sample(Service::Order, method, messages);
    let (account_id, order_id) = (ACCOUNT, known.order_id.clone());
    let by_amount = order::PlaceOrderRequest {
        account_id,
        idempotency_key: text("k2"),
        amount: text("10.01"),
        lines: Vec::new(),
        on_duplicate: order::OnDuplicate::Replay.into(),
        currency: text("USD"),
    };
    let line = order::OrderLine { product_id: PRODUCT, quantity: 1 };
    let by_lines = order::PlaceOrderRequest {
        idempotency_key: text("k3"),
        amount: text(""),
        lines: vec![line; 2],
        ..by_amount.clone()
    };
    let page_token = known.orders_token.clone();
    vec![
        of("/order.v1.OrderService/PlaceOrder", &[&by_amount, &by_lines]),
        of(
            "/order.v1.OrderService/GetOrder",
            &[&order::GetOrderRequest { account_id, order_id: order_id.clone() }],
        ),
        of(
            "/order.v1.OrderService/ListOrders",
            &[&order::ListOrdersRequest { account_id, page_size: 2, page_token }],
        ),
        of(
            "/order.v1.OrderService/CancelOrder",
            &[&order::CancelOrderRequest { account_id, order_id: order_id.clone() }],
        ),
        of(
            "/order.v1.OrderService/GetPayment",
            &[&order::GetPaymentRequest { account_id, order_id }],
        ),
    ]
}

fn of_catalog(known: &Known) -> Vec<Sample> {
    let of = |method, messages: &[&dyn Encoded]| sample(Service::Order, method, messages);
    let (product_id, page_token) = (PRODUCT, known.products_token.clone());
    vec![
        of(
            "/order.v1.CatalogService/PutProduct",
            &[&order::PutProductRequest {
                product_id,
                name: text("brick"),
                price: text("10.5"),
                stock: 100,
                currency: text("USD"),
            }],
        ),
        of("/order.v1.CatalogService/GetProduct", &[&order::GetProductRequest { product_id }]),
        of(
            "/order.v1.CatalogService/ListProducts",
            &[&order::ListProductsRequest { page_size: 1, page_token }],
        ),
        of(
            "/order.v1.CatalogService/AdjustStock",
            &[&order::AdjustStockRequest { product_id, delta: -1, adjustment_id: text("a1") }],
        ),
    ]
}
