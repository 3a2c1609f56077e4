//! A caller that comes back until it is told: an order, or the reason why there will be none.

use std::time::{Duration, Instant};

use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{PlaceOrderReply, PlaceOrderRequest};
use proto::{Failure, Reason};
use tokio::time::sleep;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::HarnessError;

/// What it waits for one answer.
pub const CALL: Duration = Duration::from_secs(3);

/// What it waits for the last one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two calls, at first; each further pause is twice as long, up to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(320)];

/// Reasons that are for good.
const FOR_GOOD: [Reason; 3] =
    [Reason::PaymentFailed, Reason::OutOfStock, Reason::IdempotencyKeyReused];

/// One call.
///
/// # Errors
/// Whatever it was answered but an order.
pub async fn place(
    channel: Channel,
    request: PlaceOrderRequest,
) -> Result<PlaceOrderReply, Status> {
    let mut request = Request::new(request);
    request.set_timeout(CALL);
    let reply = OrderServiceClient::new(channel).place_order(request).await;
    reply.map(tonic::Response::into_inner)
}

/// Calls until there is an answer for good.
///
/// # Errors
/// When there is none for a minute; the last answer is in it.
pub async fn persist(
    channel: Channel,
    request: &PlaceOrderRequest,
) -> Result<Result<PlaceOrderReply, Reason>, HarnessError> {
    let (began, [mut pause, longest]) = (Instant::now(), PAUSES);
    loop {
        let status = match place(channel.clone(), request.clone()).await {
            Ok(reply) => return Ok(Ok(reply)),
            Err(status) => status,
        };
        let reason = Failure::of(&status).map(|failure| failure.reason());
        if let Some(reason) = reason.filter(|reason| FOR_GOOD.contains(reason)) {
            return Ok(Err(reason));
        }
        if began.elapsed() > PATIENCE {
            return Err(HarnessError::call("place an order, for a minute")(status));
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}
