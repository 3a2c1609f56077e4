//! The account service, as this service sees it: reserve, capture, release, refund, over the client channel.
//!
//! Every command is idempotent by the order's id, which is also the reservation's, so the channel may send it again
//! whatever happened to it. What this module answers is one of three: done, refused for ever, or not known.
//!
//! Commands travel together: those that wait while one call is on its way are the next call. A call that takes long is
//! not waited for, so that a pod that hangs holds up no more than the calls it has.

use std::{sync::Arc, time::Duration};

use client::Channel;
use database::{
    lane::{self, Bounds, Lane, Refused, Work},
    pool::Pool,
};
use failpoint::{Safeguard, is_off};
use proto::{
    Money, Reason,
    account::v1::{
        self as api, ApplyRequest, CaptureRequest, Command as AnyCommand, GetReservationRequest,
        Outcome, RefundRequest, Refusal, ReleaseRequest, ReservationState, ReserveRequest,
        account_service_client::AccountServiceClient, command::Command,
    },
};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tonic::{Code, Request, Status};
use uuid::Uuid;

use crate::{
    ledger_link::LedgerLink,
    order::{
        Action, Notice,
        decision::Verdict,
        key::Claim,
        standing::{self, Reservation},
    },
};

/// How the channel treats the account service: document A's retry policy (A1), its keepalive and deadlines elsewhere.
/// All calls are idempotent by id (`account.v1`), and the channel is told so.
///
/// An attempt that has no answer after 2 s, a pod that hangs, is tried on another pod within the call's time. Retries stop
/// while the account service as a whole fails: 80 failures in excess of what successes give back, five for one, so that in
/// the long run there are 1.2 attempts per call at most. 80 is more than the calls that break when two pods are killed at
/// once (`CALLS` are under way, and calls that were never sent cost nothing). A pod that fails ten times in a row, or
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

/// Reservations looked up at once: each refused order looks its own up.
const LOOKUPS: usize = 64;

/// The account service. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    reserves: Lane<Command, Told>,
    settlements: Lane<Command, Told>,
    reads: AccountServiceClient<Channel>,
    lookups: Arc<Semaphore>,
    link: LedgerLink,
    timeout: Duration,
    new_id: fn() -> Uuid,
}

/// What came of holding the money for an order.
#[derive(Debug)]
pub struct Reserved {
    /// What the account service said.
    pub verdict: Verdict,
    /// The reservation may have been there before.
    pub replayed: bool,
    /// It was there before, with another amount.
    pub mismatches: bool,
}

/// Takes commands to the account service.
struct Calls {
    link: LedgerLink,
    timeout: Duration,
}

/// What came of telling the account service.
#[derive(Debug)]
pub enum Told {
    /// It is so now.
    Done {
        /// It was before.
        replayed: bool,
    },
    /// It never will be, as things stand. A capture, release or refund that is refused waits for an operator.
    Refused(Reason),
    /// Not known: tell it again.
    Unknown(Status),
}

impl Accounts {
    /// Calls through this channel; each command is given up after `timeout`, with all its attempts.
    pub fn new(
        channel: Channel,
        link: LedgerLink,
        timeout: Duration,
        new_id: fn() -> Uuid,
    ) -> Self {
        let reads = AccountServiceClient::new(channel);
        let stubs = Pool::new(vec![reads.clone(); CALLS]);
        let calls = || Calls { link: link.clone(), timeout };

        // They end when the last clones of the lanes are dropped.
        let (reserves, _runner) = lane::start("reserves", calls(), &stubs, URGENT);
        let (settlements, _runner) = lane::start("settlements", calls(), &stubs, UNHURRIED);
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        Self { reserves, settlements, reads, lookups, link, timeout, new_id }
    }

    /// T2: holds the money for an order. `Err`: not known, the money may be held.
    pub async fn reserve(&self, claim: &Claim) -> Result<Reserved, Status> {
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
            currency: claim.currency.to_string(),
        };
        match self.apply(&self.reserves, Command::Reserve(request)).await {
            Told::Done { replayed } => {
                Ok(Reserved { verdict: Verdict::Reserved, replayed, mismatches: false })
            }
            // Whether a refusal is new is not said.
            Told::Refused(reason) => Ok(Reserved {
                verdict: Verdict::Declined { cause: reason.to_string() },
                replayed: true,
                mismatches: reason == Reason::ReservationMismatch,
            }),
            Told::Unknown(status) => Err(status),
        }
    }

    /// Reads the reservation of an order. `None`: there is none.
    pub async fn reservation(&self, claim: &Claim) -> Result<Option<Reservation>, Status> {
        let Ok(_place) = self.lookups.acquire().await else {
            return Err(Status::unknown("nobody calls the account service any more"));
        };
        let account_id = claim.request.account.get();
        let reserve_id = claim.order_id.to_string();
        let mut request = Request::new(GetReservationRequest { account_id, reserve_id });
        request.set_timeout(self.timeout);

        match self.reads.clone().get_reservation(request).await {
            Ok(found) => self.read(&found.into_inner()).map(Some),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    fn read(&self, found: &api::Reservation) -> Result<Reservation, Status> {
        let money = |text: &str| {
            Money::parse_or_zero(text).map_err(|_| Status::internal("a reservation of odd amounts"))
        };
        let now = self.link.ledger().ok().and_then(|ledger| ledger.now());
        let created_at = found.created_at.map(|at| at.seconds).unwrap_or_default();
        let created_at = OffsetDateTime::from_unix_timestamp(created_at).ok();
        Ok(Reservation {
            amount: money(&found.amount)?,
            is_held: found.state() == ReservationState::Held,
            captured: money(&found.captured_amount)?,
            refunded: money(&found.refunded_amount)?,
            age: created_at.zip(now).map(|(created_at, now)| standing::age(created_at, now)),
        })
    }

    /// Does what an outbox row says.
    pub async fn tell(&self, notice: &Notice) -> Told {
        match notice.action {
            Action::Capture => self.capture(notice).await,
            Action::Release => self.release(notice).await,
            Action::Refund => self.give_back(notice).await,
        }
    }

    /// Gives back all that was captured and not refunded before.
    ///
    /// The whole amount is asked for first, under the order's id: account pods of every version know that. Other callers
    /// may refund on this reservation as well, so it can be too much, or its refund_id taken. Then the rest is asked for,
    /// under a new refund_id each time: nobody can have taken that, and the rest of nothing is nothing, so an answer that
    /// was lost, a second settler or a refund in between gives nothing back twice.
    async fn give_back(&self, notice: &Notice) -> Told {
        // An order may be cancelled before its capture was told.
        match self.capture(notice).await {
            // Another caller captured a part of it: that is what can be given back.
            Told::Done { .. } | Told::Refused(Reason::CaptureMismatch) => {}
            // The money never left the account, or came back to it when the ledger lost the reservation.
            Told::Refused(
                Reason::ReservationReleased
                | Reason::ReservationExpired
                | Reason::ReservationNotFound,
            ) => return Told::Done { replayed: true },
            told @ (Told::Refused(_) | Told::Unknown(_)) => return told,
        }

        let order_id = notice.order_id.to_string();
        match self.refund(notice, order_id.clone(), notice.amount.to_string()).await {
            Told::Refused(Reason::RefundExceedsCapture | Reason::RefundMismatch)
                if !is_off(Safeguard::RefundRest) => {}
            told @ (Told::Done { .. } | Told::Refused(_) | Told::Unknown(_)) => return told,
        }

        let refund_id = format!("{order_id}:cancel:{}", (self.new_id)());
        match self.refund(notice, refund_id, String::new()).await {
            // A pod of the version before wants an amount. It is about to be replaced.
            Told::Refused(Reason::InvalidRequest) => {
                Told::Unknown(Status::invalid_argument("this pod cannot refund the rest yet"))
            }
            told @ (Told::Done { .. } | Told::Refused(_) | Told::Unknown(_)) => told,
        }
    }

    async fn capture(&self, notice: &Notice) -> Told {
        let (account_id, reserve_id) = named(notice);
        let amount = String::new();
        self.settle(Command::Capture(CaptureRequest { account_id, reserve_id, amount })).await
    }

    async fn release(&self, notice: &Notice) -> Told {
        let (account_id, reserve_id) = named(notice);
        let released =
            self.settle(Command::Release(ReleaseRequest { account_id, reserve_id })).await;
        match released {
            // For an order that was lost with its database's last commits: its money is given back another way.
            Told::Refused(Reason::ReservationCaptured) => self.give_back(notice).await,
            told @ (Told::Done { .. } | Told::Refused(_) | Told::Unknown(_)) => told,
        }
    }

    async fn refund(&self, notice: &Notice, refund_id: String, amount: String) -> Told {
        let (account_id, reserve_id) = named(notice);
        self.settle(Command::Refund(RefundRequest { account_id, reserve_id, refund_id, amount }))
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
        let unknown =
            |status: Status| (0..expected).map(|_| Told::Unknown(status.clone())).collect();

        let ledger_id = match self.link.ledger() {
            Ok(ledger) => ledger.id.unwrap_or_default(),
            Err(why) => return unknown(Status::unavailable(why)),
        };
        let mut request = Request::new(ApplyRequest { commands: commands.collect(), ledger_id });
        request.set_timeout(self.timeout);
        match stub.apply(request).await.map(|reply| reply.into_inner().outcomes) {
            Ok(outcomes) if outcomes.len() == expected => outcomes.into_iter().map(told).collect(),
            Ok(_) => unknown(Status::internal("another number of outcomes than of commands")),
            Err(status) => unknown(status),
        }
    }
}

/// The account and the reservation that a notice is about.
fn named(notice: &Notice) -> (i64, String) {
    (notice.account.get(), notice.order_id.to_string())
}

/// Reads an outcome. Only a refusal that the account service explains is final.
fn told(outcome: Outcome) -> Told {
    let replayed = outcome.replayed;
    let Some(Refusal { code, reason, message }) = outcome.refusal else {
        return Told::Done { replayed };
    };
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
        assert!(matches!(told(Outcome::default()), Told::Done { replayed: false }));
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
