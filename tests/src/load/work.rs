//! One request by its number: an order, or a reservation alone.

use std::future::Future;
use std::time::Duration;

use client::Channel;
use proto::Failure;
use proto::account::v1::ReserveRequest;
use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::order_service_client::OrderServiceClient;
use tonic::{Code, Request, Status};

use super::{Answer, Connections, Mix, Verdict};

/// What a request costs that only reserves.
const RESERVED: &str = "1";

/// Sends one request.
pub trait Work: Send + Sync + 'static {
    /// Sends the request with this number and waits for its last word.
    fn send(&self, number: u64) -> impl Future<Output = Answer> + Send;
}

/// PlaceOrder.
#[derive(Clone)]
pub struct Orders {
    /// To order-service.
    pub connections: Connections<Channel>,
    /// What is asked for.
    pub mix: Mix,
    /// Of each call.
    pub deadline: Duration,
}

impl Work for Orders {
    async fn send(&self, number: u64) -> Answer {
        let mut request = Request::new(self.mix.order(number));
        request.set_timeout(self.deadline);
        let mut stub = OrderServiceClient::new(self.connections.of_request(number));
        let replayed = stub.place_order(request).await.map(|reply| reply.get_ref().replayed);
        Answer::at_once(verdict(replayed))
    }
}

/// Reserve, without an order around it.
#[derive(Clone)]
pub struct Reserves {
    /// To account-service.
    pub connections: Connections<Channel>,
    /// Whose accounts, and the ids.
    pub mix: Mix,
    /// Of each call.
    pub deadline: Duration,
}

impl Work for Reserves {
    async fn send(&self, number: u64) -> Answer {
        let order = self.mix.order(number);
        let mut request = Request::new(ReserveRequest {
            account_id: order.account_id,
            amount: RESERVED.to_owned(),
            reserve_id: order.idempotency_key.clone(),
            order_id: order.idempotency_key,
            ttl: None,
            currency: String::new(),
        });
        request.set_timeout(self.deadline);
        let mut stub = AccountServiceClient::new(self.connections.of_request(number));
        let replayed = stub.reserve(request).await.map(|reply| reply.get_ref().replayed);
        Answer::at_once(verdict(replayed))
    }
}

/// What an answer means. A refusal is one that the service decided and says why; of those only an
/// overload and an unknown outcome are failures.
pub(super) fn verdict(replayed: Result<bool, Status>) -> Verdict {
    match replayed {
        Ok(false) => Verdict::Done,
        Ok(true) => Verdict::Replayed,
        Err(status) => match (status.code(), Failure::of(&status)) {
            (Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted, Some(_)) => {
                Verdict::Refused
            }
            (code, _) => Verdict::Failed(code),
        },
    }
}
