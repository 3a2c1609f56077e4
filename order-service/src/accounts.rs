//! The account service, as this service sees it: reserve, capture, release, refund, over the client channel.
//!
//! Every call is idempotent by the order's id, which is also the reservation's, so the channel may send it again
//! whatever happened to it. What this module answers is one of three: done, refused for ever, or not known.

use std::time::Duration;

use client::Channel;
use failpoint::{Safeguard, is_off};
use proto::{
    Failure, Reason,
    account::v1::{
        CaptureRequest, RefundRequest, ReleaseRequest, ReserveRequest,
        account_service_client::AccountServiceClient,
    },
};
use tonic::{Code, Request, Status};

use crate::order::{Action, Notice, decision::Verdict, key::Claim};

/// How the channel treats the account service: document A's retry policy (A1), its keepalive and deadlines elsewhere.
/// All calls are idempotent by id (`account.v1`), and the channel is told so.
pub const SERVICE_CONFIG: &str = r#"{
    "methodConfig": [{
        "name": [{ "service": "account.v1.AccountService" }],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 3,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
        }
    }]
}"#;

/// How long a hold lasts: far longer than any key stays undecided, so that none ends under an order in progress.
const HOLD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The account service.
#[derive(Clone)]
pub struct Accounts {
    stub: AccountServiceClient<Channel>,
    timeout: Duration,
}

/// What came of telling the account service.
#[derive(Debug)]
pub enum Told {
    /// It is so now.
    Done,
    /// It never will be. For a capture, release or refund of ours that is a breach of an invariant.
    Refused(Reason),
    /// Not known: tell it again.
    Unknown(Status),
}

impl Accounts {
    /// Calls through this channel; each call, with all its attempts, is given up after `timeout`.
    pub fn new(channel: Channel, timeout: Duration) -> Self {
        Self { stub: AccountServiceClient::new(channel), timeout }
    }

    /// T2: holds the money for an order. `Err`: not known, the money may be held.
    pub async fn reserve(&self, claim: &Claim) -> Result<Verdict, Status> {
        let order_id = claim.order_id.to_string();
        let reserve_id = if is_off(Safeguard::SingleReserveId) && claim.fence > 1 {
            format!("{order_id}-{}", claim.fence)
        } else {
            order_id.clone()
        };
        let request = ReserveRequest {
            account_id: claim.request.account.get(),
            amount: claim.amount.to_string(),
            reserve_id,
            order_id,
            ttl: Some(prost_types::Duration { seconds: HOLD_TTL.as_secs() as i64, nanos: 0 }),
        };
        match told(self.stub.clone().reserve(self.request(request)).await) {
            Told::Done => Ok(Verdict::Reserved),
            Told::Refused(reason) => Ok(Verdict::Declined { cause: reason.to_string() }),
            Told::Unknown(status) => Err(status),
        }
    }

    /// Does what an outbox row says.
    pub async fn tell(&self, notice: &Notice) -> Told {
        let account_id = notice.account.get();
        let reserve_id = notice.order_id.to_string();
        let mut stub = self.stub.clone();
        if notice.action == Action::Release {
            let request = ReleaseRequest { account_id, reserve_id };
            return told(stub.release(self.request(request)).await);
        }
        let request =
            CaptureRequest { account_id, reserve_id: reserve_id.clone(), amount: String::new() };
        let captured = told(stub.capture(self.request(request)).await);
        // An order may be cancelled before its capture was told: a refund makes sure of it first.
        if notice.action == Action::Capture || !matches!(captured, Told::Done) {
            return captured;
        }
        let request = RefundRequest {
            account_id,
            refund_id: reserve_id.clone(),
            reserve_id,
            amount: notice.amount.to_string(),
        };
        told(stub.refund(self.request(request)).await)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// Reads an answer. Only a refusal that the account service explains is final; a status without a reason of ours may
/// come from anything on the way.
fn told<T>(answer: Result<T, Status>) -> Told {
    let status = match answer {
        Ok(_) => return Told::Done,
        Err(status) => status,
    };
    let reason = Failure::of(&status).map(|failure| failure.reason());
    match (status.code(), reason) {
        (
            Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument | Code::AlreadyExists,
            Some(reason),
        ) => Told::Refused(reason),
        _ => Told::Unknown(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bug_6_only_what_the_account_service_explains_is_final() {
        let declined = Status::from(Failure::new(Reason::InsufficientFunds, "too little"));
        assert!(matches!(told::<()>(Err(declined)), Told::Refused(Reason::InsufficientFunds)));
        for passing in [
            Status::unavailable("away"),
            Status::deadline_exceeded("late"),
            Status::internal("?"),
            Status::unknown("?"),
            Status::cancelled("?"),
            Status::not_found("a proxy's page"),
            Status::from(Failure::new(Reason::Overloaded, "busy")),
            Status::from(Failure::new(Reason::Internal, "a defect")),
        ] {
            assert!(matches!(told::<()>(Err(passing)), Told::Unknown(_)));
        }
    }
}
