//! Document B's test: one idempotency key, many requests at once, one order.
//!
//! An account of 100,000 buys one piece at 10,000 of a product with a stock of 100. However many
//! requests carry the key and whatever pod they reach: one order, one payment, stock taken once,
//! money taken once; every other request is refused as a duplicate (REJECT) or answered with
//! the first answer (REPLAY).

mod figures;
mod table;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use proto::account::v1::{Account, GetAccountRequest, OpenAccountRequest};
use proto::order::v1::{
    GetPaymentRequest, GetProductRequest, ListOrdersRequest, OnDuplicate, OrderLine, Payment,
    PaymentStatus, PlaceOrderReply, PlaceOrderRequest, PutProductRequest,
};
use proto::{Failure, Money, Reason};
use tokio::sync::Barrier;
use tonic::Status;

use crate::HarnessError;
use crate::clients::Clients;
use crate::echo::Caller;

pub use figures::{Figures, Report};
pub use table::table;

use figures::Answers;

/// Crowds of document B.
pub const CROWDS: [usize; 3] = [10, 100, 1_000];
/// Both ways to answer a duplicate.
pub const MODES: [OnDuplicate; 2] = [OnDuplicate::Reject, OnDuplicate::Replay];

const OPENING_BALANCE: &str = "100000";
const PRICE: &str = "10000";
const STOCK: i64 = 100;

/// A caller's patience; an answer that takes longer is not one.
const DEADLINE: Duration = Duration::from_secs(20);
/// Money is captured moments after the order; this is how long moments may be.
const CAPTURE_BOUND: Duration = Duration::from_secs(10);
const GLANCE: Duration = Duration::from_millis(20);

/// Runs every crowd in every mode, on accounts and products from `first_id` on.
///
/// # Errors
/// When a test cannot be prepared or read out; what the test finds is in the report.
pub async fn run_all<C: Caller>(
    clients: &Clients<C>,
    first_id: i64,
) -> Result<Report, HarnessError> {
    let mut report = Report::default();
    for mode in MODES {
        for requests in CROWDS {
            let id = first_id + i64::try_from(report.runs.len()).expect("six runs");
            report.add(run(clients, id, requests, mode).await?);
        }
    }
    Ok(report)
}

/// Runs one crowd: account and product `id`, both new.
///
/// # Errors
/// When the test cannot be prepared or read out.
pub async fn run<C: Caller>(
    clients: &Clients<C>,
    id: i64,
    requests: usize,
    mode: OnDuplicate,
) -> Result<Figures, HarnessError> {
    prepare(clients, id).await?;
    let request = PlaceOrderRequest {
        account_id: id,
        idempotency_key: format!("document-b-{requests}-{id}"),
        amount: String::new(),
        lines: vec![OrderLine { product_id: id, quantity: 1 }],
        on_duplicate: mode.into(),
        currency: String::new(),
    };
    let (answers, elapsed) = crowd(clients, requests, &request).await;
    let answers = count(&answers);
    let began = Instant::now();
    let duplicate = place(clients, 0, request).await;
    let duplicate_took = began.elapsed();
    let left = read_out(clients, id).await?;
    Ok(Figures::new(requests, mode, answers, &left, elapsed, (&duplicate, duplicate_took)))
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) orders: usize,
    pub(crate) payments: usize,
    pub(crate) stock_taken: i64,
    pub(crate) amount_taken: Option<Money>,
}

async fn prepare<C: Caller>(clients: &Clients<C>, id: i64) -> Result<(), HarnessError> {
    let account = OpenAccountRequest {
        account_id: id,
        currency: String::new(),
        opening_balance: OPENING_BALANCE.to_owned(),
    };
    let opened = clients.accounts.clone().open_account(account).await;
    opened.map_err(HarnessError::call("open the account"))?;
    let product = PutProductRequest {
        product_id: id,
        name: "Document B's product".to_owned(),
        price: PRICE.to_owned(),
        stock: STOCK,
        currency: String::new(),
    };
    let put = clients.catalog.clone().put_product(product).await;
    put.map(drop).map_err(HarnessError::call("put the product"))
}

type Answer = Result<PlaceOrderReply, Status>;

/// All requests at once: every one waits at the barrier until all are there. The time is from
/// there to the last answer.
async fn crowd<C: Caller>(
    clients: &Clients<C>,
    requests: usize,
    request: &PlaceOrderRequest,
) -> (Vec<Answer>, Duration) {
    let barrier = std::sync::Arc::new(Barrier::new(requests + 1));
    let calls: Vec<_> = (0..requests)
        .map(|number| {
            let (clients, request, barrier) = (clients.clone(), request.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                place(&clients, number, request).await
            })
        })
        .collect();
    barrier.wait().await;
    let began = Instant::now();
    let answers = join_all(calls).await;
    let elapsed = began.elapsed();
    (answers.into_iter().map(|answer| answer.expect("a caller does not panic")).collect(), elapsed)
}

async fn place<C: Caller>(
    clients: &Clients<C>,
    number: usize,
    request: PlaceOrderRequest,
) -> Answer {
    let mut request = tonic::Request::new(request);
    request.set_timeout(DEADLINE);
    let mut orders = clients.orders[number % clients.orders.len()].clone();
    orders.place_order(request).await.map(tonic::Response::into_inner)
}

fn count(answers: &[Answer]) -> Answers {
    let mut count = Answers::default();
    let mut first: Option<PlaceOrderReply> = None;
    for answer in answers {
        match answer {
            Ok(reply) => {
                if reply.replayed {
                    count.replayed += 1;
                } else {
                    count.placed += 1;
                }
                let told = PlaceOrderReply { replayed: false, ..reply.clone() };
                count.differing += usize::from(first.get_or_insert_with(|| told.clone()) != &told);
            }
            Err(status) => match Failure::of(status).map(|failure| failure.reason()) {
                Some(Reason::DuplicatePaymentRequest) => count.in_progress += 1,
                Some(Reason::PaymentAlreadyProcessed) => count.already_processed += 1,
                _ => count.note_error(status),
            },
        }
    }
    count
}

/// Reads the books once the capture has reached the balance, or its bound has passed.
async fn read_out<C: Caller>(clients: &Clients<C>, id: i64) -> Result<Left, HarnessError> {
    let mut orders = clients.orders[0].clone();
    let list = ListOrdersRequest { account_id: id, page_size: 500, page_token: String::new() };
    let listed = orders.list_orders(list).await.map_err(HarnessError::call("list the orders"))?;
    let listed = listed.into_inner().orders;
    let mut payments = 0;
    for order in &listed {
        let of = GetPaymentRequest { account_id: id, order_id: order.order_id.clone() };
        let payment: Result<Payment, Status> =
            orders.get_payment(of).await.map(tonic::Response::into_inner);
        payments +=
            usize::from(payment.is_ok_and(|payment| payment.status() == PaymentStatus::Completed));
    }
    let product = clients.catalog.clone().get_product(GetProductRequest { product_id: id }).await;
    let product = product.map_err(HarnessError::call("read the product"))?.into_inner();
    let account = settled_account(clients, id).await?;
    let [opening, balance] =
        [OPENING_BALANCE, &account.balance].map(|amount| Money::parse_or_zero(amount).ok());
    let amount_taken =
        opening.zip(balance).and_then(|(opening, balance)| opening.checked_sub(balance));
    Ok(Left { orders: listed.len(), payments, stock_taken: STOCK - product.stock, amount_taken })
}

async fn settled_account<C: Caller>(
    clients: &Clients<C>,
    id: i64,
) -> Result<Account, HarnessError> {
    let began = Instant::now();
    loop {
        let read = clients.accounts.clone().get_account(GetAccountRequest { account_id: id }).await;
        let account = read.map_err(HarnessError::call("read the account"))?.into_inner();
        if account.reserved == "0" || began.elapsed() > CAPTURE_BOUND {
            return Ok(account);
        }
        tokio::time::sleep(GLANCE).await;
    }
}
