//! The services' own calls, by which a repair changes the books.

use std::time::Duration;

use client::{BearerToken, BuildError, Channel};
use proto::{
    Failure, Money, Reason,
    account::v1::{
        CaptureRequest, GetAccountRequest, RefundRequest, ReleaseRequest, ReserveRequest,
        account_service_client::AccountServiceClient,
    },
    order::v1::{
        CancelOrderRequest, GetOrderRequest, OrderStatus, order_service_client::OrderServiceClient,
    },
};
use tonic::{Code, Request, Status};

use crate::{
    facts::Name,
    plan::{Action, Step},
};

/// Every call is idempotent by its ids, so it may be sent again whatever happened to it.
const SERVICE_CONFIG: &str = r#"{
    "methodConfig": [{
        "name": [{ "service": "account.v1.AccountService" }, { "service": "order.v1.OrderService" }],
        "idempotent": true,
        "retryPolicy": {
            "maxAttempts": 5,
            "initialBackoff": "0.1s",
            "maxBackoff": "2s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL", "UNKNOWN"]
        }
    }]
}"#;

/// How long one call may take, with all its attempts.
const TIMEOUT: Duration = Duration::from_secs(15);

/// As long as the order service's own: nothing expires before a repair that was broken off is begun again.
const HOLD_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Both services.
pub struct Calls {
    accounts: AccountServiceClient<Channel>,
    orders: OrderServiceClient<Channel>,
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is so now.
    Done,
    /// The service says no, and will again: people must look.
    Refused(String),
}

/// A call that was not answered as hoped.
enum Failed {
    Refused(String),
    Away(Status),
}

impl Calls {
    /// Connects when the first call is made. `token`: who calls, if the services ask.
    ///
    /// # Errors
    /// When an address is none.
    pub fn new(
        account_target: &str,
        order_target: &str,
        token: Option<BearerToken>,
    ) -> Result<Self, BuildError> {
        let channel = |target| {
            let channel = Channel::builder(target)
                .service_config(SERVICE_CONFIG)
                .keepalive(Duration::from_secs(10), Duration::from_secs(5))
                .wait_for_ready(true);
            match token.clone() {
                Some(token) => channel.bearer_token(token).build(),
                None => channel.build(),
            }
        };
        let accounts = AccountServiceClient::new(channel(account_target)?);
        let orders = OrderServiceClient::new(channel(order_target)?);
        Ok(Self { accounts, orders })
    }

    /// Does one action.
    ///
    /// # Errors
    /// When a service does not answer: the outcome is unknown, and doing it again is safe.
    pub(crate) async fn carry_out(&self, action: &Action) -> Result<Outcome, Status> {
        let name = action.name;
        let done = match action.step {
            Step::Charge(amount) => self.charge(name, amount).await,
            Step::Capture => self.capture(name).await,
            Step::Release => self.release(name).await,
            Step::Refund(amount) => self.refund(name, amount).await,
            Step::Cancel => self.cancel(name).await,
            Step::Wait | Step::ByHand => Ok(()),
        };
        match done {
            Ok(()) => Ok(Outcome::Done),
            Err(Failed::Refused(why)) => Ok(Outcome::Refused(why)),
            Err(Failed::Away(status)) => Err(status),
        }
    }

    /// Asks first whether the money is there: a Reserve that is declined is declined for ever, and a deposit could not
    /// mend it any more.
    async fn charge(&self, name: Name, amount: Money) -> Result<(), Failed> {
        let account_id = name.account;
        let request = timed(GetAccountRequest { account_id });
        let account = self.accounts.clone().get_account(request).await.map_err(failed)?;
        let account = account.into_inner();
        let available = Money::parse_or_zero(&account.available).unwrap_or_default();
        if available < amount {
            return Err(Failed::Refused(format!("unpayable: {available} is available")));
        }
        let request = ReserveRequest {
            account_id,
            amount: amount.to_string(),
            reserve_id: name.id.to_string(),
            order_id: name.id.to_string(),
            // Whatever the account is in: the order was paid from it before.
            currency: String::new(),
            ttl: Some(prost_types::Duration { seconds: HOLD_TTL.as_secs() as i64, nanos: 0 }),
        };
        self.accounts.clone().reserve(timed(request)).await.map_err(failed)?;
        self.capture(name).await
    }

    async fn capture(&self, name: Name) -> Result<(), Failed> {
        let (reserve_id, amount) = (name.id.to_string(), String::new());
        let request = CaptureRequest { account_id: name.account, reserve_id, amount };
        self.accounts.clone().capture(timed(request)).await.map(drop).map_err(failed)
    }

    async fn release(&self, name: Name) -> Result<(), Failed> {
        self.needs_no_money(name).await?;
        let request = ReleaseRequest { account_id: name.account, reserve_id: name.id.to_string() };
        self.accounts.clone().release(timed(request)).await.map(drop).map_err(failed)
    }

    /// The amount is what was left when the books were read; a refund that came between makes this one too large, and
    /// it is refused.
    async fn refund(&self, name: Name, amount: Money) -> Result<(), Failed> {
        self.needs_no_money(name).await?;
        let request = RefundRequest {
            account_id: name.account,
            reserve_id: name.id.to_string(),
            refund_id: format!("{}:repair", name.id),
            amount: amount.to_string(),
        };
        self.accounts.clone().refund(timed(request)).await.map(drop).map_err(failed)
    }

    async fn cancel(&self, name: Name) -> Result<(), Failed> {
        let request =
            CancelOrderRequest { account_id: name.account, order_id: name.id.to_string() };
        self.orders.clone().cancel_order(timed(request)).await.map(drop).map_err(failed)
    }

    /// Money is given back only if the order service itself says that no order stands for it. Read against another
    /// database than the service's, every order would seem to be missing.
    async fn needs_no_money(&self, name: Name) -> Result<(), Failed> {
        let request = GetOrderRequest { account_id: name.account, order_id: name.id.to_string() };
        match self.orders.clone().get_order(timed(request)).await {
            Ok(order) if order.get_ref().status() == OrderStatus::Cancelled => Ok(()),
            Ok(_) => Err(Failed::Refused("the order service has this order placed".into())),
            Err(status) => match Failure::of(&status).map(|failure| failure.reason()) {
                Some(Reason::OrderNotFound) => Ok(()),
                Some(_) | None => Err(failed(status)),
            },
        }
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

/// Only what a service explains, and would explain again, is a refusal; everything else may be otherwise next time.
fn failed(status: Status) -> Failed {
    let final_code = matches!(
        status.code(),
        Code::FailedPrecondition | Code::NotFound | Code::InvalidArgument | Code::AlreadyExists
    );
    match Failure::of(&status).filter(|_| final_code) {
        Some(failure) => Failed::Refused(failure.reason().to_string()),
        None => Failed::Away(status),
    }
}
