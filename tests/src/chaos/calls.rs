//! Calls to pods, and their answers as the history has them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::account::v1::{DepositRequest, RefundRequest, ReleaseRequest, ReserveRequest};
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{
    CancelOrderRequest, GetOrderRequest, GetPaymentRequest, GetProductRequest, OnDuplicate,
    OrderLine, PlaceOrderReply, PlaceOrderRequest,
};
use proto::{Failure, Money, Reason};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::history::{Answer, Body, Call, Read};
use crate::HarnessError;

/// What a client waits for one answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Callers that ask one question at once.
const READERS: usize = 8;

const CONNECTING: Duration = Duration::from_millis(500);

/// Connections to all pods; they come back by themselves.
#[derive(Debug)]
pub(super) struct Pods {
    accounts: Vec<AccountServiceClient<Channel>>,
    orders: Vec<OrderServiceClient<Channel>>,
    catalogues: Vec<CatalogServiceClient<Channel>>,
}

impl Pods {
    /// Does not wait for any connection.
    ///
    /// # Errors
    /// When an address cannot be one.
    pub(super) fn new(
        accounts: &[SocketAddr],
        orders: &[SocketAddr],
    ) -> Result<Self, HarnessError> {
        let channels = |addresses: &[SocketAddr]| -> Result<Vec<Channel>, HarnessError> {
            addresses.iter().map(|address| channel(*address)).collect()
        };
        let orders = channels(orders)?;
        Ok(Self {
            accounts: channels(accounts)?.into_iter().map(AccountServiceClient::new).collect(),
            catalogues: orders.iter().cloned().map(CatalogServiceClient::new).collect(),
            orders: orders.into_iter().map(OrderServiceClient::new).collect(),
        })
    }

    /// Calls the pod of this number, of the service that the call is for.
    pub(super) async fn call(&self, pod: usize, call: &Call) -> Answer {
        let mut orders = self.orders[pod % self.orders.len()].clone();
        let mut accounts = self.accounts[pod % self.accounts.len()].clone();
        match call.clone() {
            Call::Place { account, key, body, reject } => {
                let request = request(place(account, key, body, reject));
                answered(orders.place_order(request).await, placed)
            }
            Call::Cancel { account: account_id, order_id } => {
                let request = request(CancelOrderRequest { account_id, order_id });
                answered(orders.cancel_order(request).await, |_| Answer::Done)
            }
            Call::Reserve { account: account_id, reserve_id, order_id, units } => {
                let amount = money(units);
                let currency = String::new();
                let request = ReserveRequest {
                    account_id,
                    amount,
                    reserve_id,
                    order_id,
                    ttl: None,
                    currency,
                };
                answered(accounts.reserve(self::request(request)).await, |_| Answer::Done)
            }
            Call::Release { account: account_id, reserve_id } => {
                let request = request(ReleaseRequest { account_id, reserve_id });
                answered(accounts.release(request).await, |_| Answer::Done)
            }
            Call::Deposit { account: account_id, deposit_id, units } => {
                let request = DepositRequest { account_id, amount: money(units), deposit_id };
                answered(accounts.deposit(self::request(request)).await, |_| Answer::Done)
            }
            Call::Refund { account: account_id, order_id: reserve_id, refund_id, units } => {
                let amount = money(units);
                let request = RefundRequest { account_id, reserve_id, refund_id, amount };
                answered(accounts.refund(self::request(request)).await, |_| Answer::Done)
            }
            Call::Read(read) => {
                let answers = join_all((0..READERS).map(|_| self.read(pod, read.clone()))).await;
                answer_of_all(answers)
            }
        }
    }

    async fn read(&self, pod: usize, read: Read) -> Answer {
        let mut orders = self.orders[pod % self.orders.len()].clone();
        let mut catalogue = self.catalogues[pod % self.catalogues.len()].clone();
        match read {
            Read::Order { account: account_id, order_id } => {
                let request = request(GetOrderRequest { account_id, order_id });
                answered(orders.get_order(request).await, |_| Answer::Done)
            }
            Read::Payment { account: account_id, order_id } => {
                let request = request(GetPaymentRequest { account_id, order_id });
                answered(orders.get_payment(request).await, |_| Answer::Done)
            }
            Read::Product(product_id) => {
                let request = request(GetProductRequest { product_id });
                answered(catalogue.get_product(request).await, |_| Answer::Done)
            }
        }
    }
}

/// The first refusal, if there is one; else the first answer that says something.
fn answer_of_all(mut answers: Vec<Answer>) -> Answer {
    answers.sort_by_key(|answer| match answer {
        Answer::Refused { .. } => 0,
        Answer::Placed { .. } | Answer::Done => 1,
        Answer::Unknown(_) => 2,
    });
    answers.swap_remove(0)
}

fn channel(address: SocketAddr) -> Result<Channel, HarnessError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect_timeout(CONNECTING).connect_lazy())
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn place(account_id: i64, idempotency_key: String, body: Body, reject: bool) -> PlaceOrderRequest {
    let on_duplicate = if reject { OnDuplicate::Reject } else { OnDuplicate::Replay };
    let (amount, lines) = match body {
        Body::Amount(units) => (money(units), Vec::new()),
        Body::Pieces(product_id, quantity) => {
            (String::new(), vec![OrderLine { product_id, quantity }])
        }
    };
    let on_duplicate = on_duplicate.into();
    let currency = String::new();
    PlaceOrderRequest { account_id, idempotency_key, amount, lines, on_duplicate, currency }
}

fn placed(reply: PlaceOrderReply) -> Answer {
    let (order, payment) = (reply.order.unwrap_or_default(), reply.payment.unwrap_or_default());
    let units = Money::parse(&order.amount).map_or(0, Money::units);
    let (order_id, payment_id) = (order.order_id, payment.payment_id);
    Answer::Placed { order_id, payment_id, units, replayed: reply.replayed }
}

fn answered<T>(answer: Result<Response<T>, Status>, told: impl FnOnce(T) -> Answer) -> Answer {
    let status = match answer {
        Ok(reply) => return told(reply.into_inner()),
        Err(status) => status,
    };
    // A status without a reason of ours comes from a connection or a deadline.
    let Some(failure) = Failure::of(&status) else {
        return Answer::Unknown(format!("{:?}", status.code()));
    };
    let reason = failure.reason();
    let unknown =
        [Reason::OutcomeUnknown, Reason::Unavailable, Reason::Overloaded, Reason::DeadlineExceeded];
    if unknown.contains(&reason) {
        return Answer::Unknown(reason.to_string());
    }
    let detail = ["order_id", "cause", "product_id"].iter().find_map(|fact| failure.fact(fact));
    Answer::Refused { reason: reason.to_string(), detail: detail.unwrap_or_default().to_owned() }
}

fn money(units: i64) -> String {
    Money::from_units(units).expect("amounts here are small").to_string()
}
