//! The account service, as this service sees it: reserve, capture, release, refund, over the client channel.
//!
//! Every command is idempotent by the order's id, which is also the reservation's, so the channel may send it again
//! whatever happened to it. What this module answers is one of three: done, refused for ever, or not known.
//!
//! Commands travel together: those that wait while one call is on its way are the next call. A call that takes long is
//! not waited for, so that a pod that hangs holds up no more than the calls it has.

use std::time::Duration;

use client::Channel;
use database::{
    lane::{self, Bounds, Lane, Refused, Work},
    pool::Pool,
};
use failpoint::{Safeguard, is_off};
use proto::{
    Reason,
    account::v1::{
        ApplyRequest, CaptureRequest, Command as AnyCommand, Outcome, RefundRequest, Refusal,
        ReleaseRequest, ReserveRequest, account_service_client::AccountServiceClient,
        command::Command,
    },
};
use tonic::{Code, Request, Status};

use crate::order::{Action, Notice, decision::Verdict, key::Claim};

/// How the channel treats the account service: document A's retry policy (A1), its keepalive and deadlines elsewhere.
/// All calls are idempotent by id (`account.v1`), and the channel is told so.
///
/// An attempt that has no answer after 2 s, a pod that hangs, is tried on another pod within the call's time. Retries stop
/// while the account service as a whole fails: 80 failures in excess of what successes give back, five for one, so that in
/// the long run there are 1.2 attempts per call at most. 80 is more than the calls that break when two pods are killed at
/// once ([`CALLS`] are under way, and calls that were never sent cost nothing). A pod that fails ten times in a row, or
/// turns out to be another service, rests for 5 s and longer each time, but never more than half of the pods.
pub const SERVICE_CONFIG: &str = r#"{
    "methodConfig": [{
        "name": [{ "service": "account.v1.AccountService" }],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 3,
            "initialBackoff": "0.1s",
            "maxBackoff": "1s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"],
            "perAttemptRecvTimeout": "2s"
        }
    }],
    "retryThrottling": { "maxTokens": 160, "tokenRatio": 0.2 },
    "loadBalancingConfig": [{ "outlier_detection": {
        "interval": "5s",
        "baseEjectionTime": "5s",
        "maxEjectionTime": "60s",
        "maxEjectionPercent": 50,
        "consecutiveFailures": 10,
        "failureStatusCodes": ["UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"],
        "childPolicy": [{ "least_request": { "choiceCount": 2 } }]
    } }]
}"#;

/// How long a hold lasts: far longer than any key stays undecided, so that none ends under an order in progress.
const HOLD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Commands that may wait, and that travel together; and how long a call may take before the next one sets out.
const URGENT: Bounds = Bounds {
    queue: 16_384,
    batch: 256,
    patience: Duration::from_millis(5),
    linger: Duration::ZERO,
    crowd: 0,
};

/// The same where nobody waits: few large calls cost the account service and its database less than many small ones.
const UNHURRIED: Bounds =
    Bounds { patience: Duration::from_millis(50), linger: Duration::from_millis(50), ..URGENT };

/// Calls on their way at once. Where each takes its whole timeout, this is what waits for a pod that hangs.
const CALLS: usize = 32;

/// The account service. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    reserves: Lane<Command, Told>,
    settlements: Lane<Command, Told>,
    timeout: Duration,
}

/// Takes commands to the account service.
struct Calls {
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
    /// Calls through this channel; each command is given up after `timeout`, with all its attempts.
    pub fn new(channel: Channel, timeout: Duration) -> Self {
        let stubs = Pool::new(vec![AccountServiceClient::new(channel); CALLS]);
        // They end when the last clones of the lanes are dropped.
        let (reserves, _runner) = lane::start("reserves", Calls { timeout }, &stubs, URGENT);
        let (settlements, _runner) =
            lane::start("settlements", Calls { timeout }, &stubs, UNHURRIED);
        Self { reserves, settlements, timeout }
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
        match self.apply(&self.reserves, Command::Reserve(request)).await {
            Told::Done => Ok(Verdict::Reserved),
            Told::Refused(reason) => Ok(Verdict::Declined { cause: reason.to_string() }),
            Told::Unknown(status) => Err(status),
        }
    }

    /// Does what an outbox row says.
    pub async fn tell(&self, notice: &Notice) -> Told {
        let account_id = notice.account.get();
        let reserve_id = notice.order_id.to_string();
        if notice.action == Action::Release {
            let release = ReleaseRequest { account_id, reserve_id };
            return self.settle(Command::Release(release)).await;
        }
        let amount = String::new();
        let capture = CaptureRequest { account_id, reserve_id: reserve_id.clone(), amount };
        let captured = self.settle(Command::Capture(capture)).await;
        // An order may be cancelled before its capture was told: a refund makes sure of it first.
        if notice.action == Action::Capture || !matches!(captured, Told::Done) {
            return captured;
        }
        let refund_id = reserve_id.clone();
        let amount = notice.amount.to_string();
        self.settle(Command::Refund(RefundRequest { account_id, refund_id, reserve_id, amount }))
            .await
    }

    async fn settle(&self, command: Command) -> Told {
        self.apply(&self.settlements, command).await
    }

    /// The timeout is counted from here: a command may have to wait for a call that takes it along. One that is given up
    /// may be carried out all the same.
    async fn apply(&self, lane: &Lane<Command, Told>, command: Command) -> Told {
        let told = tokio::time::timeout(self.timeout, lane.submit(command)).await;
        match told {
            Ok(Ok(told)) => told,
            Ok(Err(Refused::Full)) => {
                Told::Unknown(Status::resource_exhausted("too much waits for the account service"))
            }
            Ok(Err(Refused::Stopping | Refused::Lost)) => {
                Told::Unknown(Status::unknown("nobody calls the account service any more"))
            }
            Err(_) => Told::Unknown(Status::deadline_exceeded("the account service is too slow")),
        }
    }
}

impl Work for Calls {
    type Worker = AccountServiceClient<Channel>;
    type Job = Command;
    type Answer = Told;

    async fn run(&self, stub: &mut Self::Worker, batch: Vec<Command>) -> Vec<Told> {
        let expected = batch.len();
        let commands = batch.into_iter().map(|command| AnyCommand { command: Some(command) });
        let mut request = Request::new(ApplyRequest { commands: commands.collect() });
        request.set_timeout(self.timeout);
        let unknown =
            |status: Status| (0..expected).map(|_| Told::Unknown(status.clone())).collect();
        match stub.apply(request).await.map(|reply| reply.into_inner().outcomes) {
            Ok(outcomes) if outcomes.len() == expected => outcomes.into_iter().map(told).collect(),
            Ok(_) => unknown(Status::internal("another number of outcomes than of commands")),
            Err(status) => unknown(status),
        }
    }
}

/// Reads an outcome. Only a refusal that the account service explains is final.
fn told(outcome: Outcome) -> Told {
    let Some(Refusal { code, reason, message }) = outcome.refusal else { return Told::Done };
    match (Code::from(code), reason.parse()) {
        (
            Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument | Code::AlreadyExists,
            Ok(reason),
        ) => Told::Refused(reason),
        (code, _) => Told::Unknown(Status::new(code, message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, reason: &str) -> Told {
        let (code, reason, message) = (code.into(), reason.to_owned(), String::new());
        let refusal = Some(Refusal { code, reason, message });
        told(Outcome { refusal, replayed: false })
    }

    #[test]
    fn bug_6_only_what_the_account_service_explains_is_final() {
        let reason = Reason::InsufficientFunds;
        let declined = refused(reason.code(), reason.as_str());
        assert!(matches!(declined, Told::Refused(Reason::InsufficientFunds)));
        assert!(matches!(told(Outcome::default()), Told::Done));
        for (code, reason) in [
            (Code::Unavailable, "UNAVAILABLE"),
            (Code::Internal, "INTERNAL"),
            (Code::ResourceExhausted, "OVERLOADED"),
            (Code::NotFound, "A_REASON_OF_TOMORROW"),
            (Code::Unknown, ""),
        ] {
            assert!(matches!(refused(code, reason), Told::Unknown(_)), "{code:?}");
        }
    }
}
