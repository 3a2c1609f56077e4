//! A running service and a client to it.

use std::{net::Ipv4Addr, time::Duration};

use account_service::{args::Config, grpc::Defaults, service::Service};
use proto::{
    Currency, Failure, Reason,
    account::v1::{self as api, account_service_client::AccountServiceClient},
};
use server::{ServeConfig, Signals, Summary, Trigger};
use tokio::task::JoinHandle;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::support::{Fresh, Place};

/// A service of its own in this process.
pub(crate) struct Running<B: Fresh> {
    pub(crate) client: AccountServiceClient<Channel>,
    pub(crate) admin: std::net::SocketAddr,
    pub(crate) place: Option<Place<B>>,
    serving: JoinHandle<Summary>,
    trigger: Trigger,
}

impl<B: Fresh> Running<B> {
    /// On a fresh database.
    pub(crate) async fn fresh() -> Self {
        let place = B::fresh().await;
        let options = place.options.clone();
        Self { place: Some(place), ..Self::on(options).await }
    }

    /// On this database.
    pub(crate) async fn on(options: B::Options) -> Self {
        let service = Service::bind::<B>(options, config()).await.unwrap();
        let (address, admin) = (service.local_addr(), service.admin_addr());
        let (trigger, signals) = Signals::by_hand();
        let serving = tokio::spawn(service.run(signals));
        let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
        let client = AccountServiceClient::new(channel);
        Self { client, admin, place: None, serving, trigger }
    }

    /// Stops it, and sees that the books are right.
    pub(crate) async fn stop(self) {
        let Self { client, serving, trigger, place, .. } = self;
        drop(client);
        trigger.fire();
        assert!(!serving.await.unwrap().forced);
        if let Some(place) = place {
            let report = account_service::audit::audit::<B>(place.options.clone()).await.unwrap();
            assert!(report.ok, "{report:?}");
        }
    }
}

fn config() -> Config {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    Config {
        task: None,
        database: "sqlite://named-by-options".parse().unwrap(),
        migrate_timeout: Duration::ZERO,
        connections: 4,
        defaults: Defaults {
            currency: "EUR".parse::<Currency>().unwrap(),
            hold_ttl: Duration::from_secs(60),
        },
        sweep_interval: Duration::from_millis(50),
        page_keys: None,
        serve: ServeConfig {
            listen: anywhere,
            admin_listen: anywhere,
            lame_duck: Duration::ZERO,
            readiness_interval: Duration::from_millis(100),
            readiness_grace: Duration::ZERO,
            ..ServeConfig::on_ports(0, 0)
        },
        log: Default::default(),
        failpoints: Default::default(),
    }
}

/// The reason of a refusal, which must travel with that reason's code.
pub(crate) fn reason(status: &Status) -> Reason {
    let failure = Failure::of(status).unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert_eq!(status.code(), failure.reason().code(), "{status:?}");
    failure.reason()
}

/// Asserts that a request was refused for these fields, all of them and no other.
pub(crate) fn names(status: &Status, fields: &[&str]) {
    use tonic_types::StatusExt;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let named: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, fields, "{status:?}");
    assert!(violations.iter().all(|violation| !violation.description.is_empty()));
}

pub(crate) fn open(account_id: i64, opening_balance: &str) -> api::OpenAccountRequest {
    let opening_balance = opening_balance.into();
    api::OpenAccountRequest { account_id, currency: "USD".into(), opening_balance }
}

pub(crate) fn deposit(account_id: i64, deposit_id: &str, amount: &str) -> api::DepositRequest {
    api::DepositRequest { account_id, amount: amount.into(), deposit_id: deposit_id.into() }
}

pub(crate) fn reserve(account_id: i64, reserve_id: &str, amount: &str) -> api::ReserveRequest {
    api::ReserveRequest {
        account_id,
        amount: amount.into(),
        reserve_id: reserve_id.into(),
        order_id: format!("order of {reserve_id}"),
        ttl: None,
        currency: String::new(),
    }
}

pub(crate) fn capture(account_id: i64, reserve_id: &str, amount: &str) -> api::CaptureRequest {
    api::CaptureRequest { account_id, reserve_id: reserve_id.into(), amount: amount.into() }
}

pub(crate) fn release(account_id: i64, reserve_id: &str) -> api::ReleaseRequest {
    api::ReleaseRequest { account_id, reserve_id: reserve_id.into() }
}

pub(crate) fn refund(
    account_id: i64,
    reserve_id: &str,
    refund_id: &str,
    amount: &str,
) -> api::RefundRequest {
    api::RefundRequest {
        account_id,
        reserve_id: reserve_id.into(),
        refund_id: refund_id.into(),
        amount: amount.into(),
    }
}

pub(crate) fn get_reservation(account_id: i64, reserve_id: &str) -> api::GetReservationRequest {
    api::GetReservationRequest { account_id, reserve_id: reserve_id.into() }
}

pub(crate) fn list_entries(account_id: i64, size: i32, token: &str) -> api::ListEntriesRequest {
    api::ListEntriesRequest { account_id, page_size: size, page_token: token.into() }
}
