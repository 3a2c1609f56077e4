//! Pods of the order service on one database, and a caller for each.

use std::time::Duration;

use clap::Parser;
use client::Channel;
use database::Sqlite;
use order_service::{args::Args, service::Service, storage::Store};
use proto::{
    Failure, Reason,
    order::v1::{
        OnDuplicate, PlaceOrderReply, PlaceOrderRequest, order_service_client::OrderServiceClient,
    },
};
use server::{Signals, Summary, Trigger};
use tokio::task::JoinHandle;
use tonic::{Request, Status};

use crate::{
    accounts::{Accounts, Mood},
    support::{Fresh, LONG, Place},
};

pub(crate) struct World {
    pub(crate) accounts: Accounts,
    pub(crate) place: Place,
    pub(crate) pods: Vec<Pod>,
}

pub(crate) struct Pod {
    pub(crate) orders: OrderServiceClient<Channel>,
    pub(crate) channel: Channel,
    trigger: Trigger,
    running: JoinHandle<Summary>,
}

/// Long enough for anything that is meant to come.
const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// So many pods on one SQLite file, with these flags besides.
    pub(crate) async fn start(mood: Mood, pods: usize, flags: &[&str]) -> Self {
        let place = Sqlite::fresh().await;
        let accounts = Accounts::start(mood).await;
        let mut world = Self { accounts, place, pods: Vec::new() };
        for _ in 0..pods {
            world.add_pod(flags).await;
        }
        world
    }

    pub(crate) async fn add_pod(&mut self, flags: &[&str]) {
        let target = format!("static:///{}", self.accounts.address);
        let fixed = [
            "order-service",
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            "--lame-duck=0s",
            "--account-target",
            &target,
        ];
        let args = Args::parse_from(fixed.iter().chain(flags));
        let config = args.validate().unwrap();
        let (url, leases, currency) = (self.place.url.clone(), config.leases, config.currency);
        let open = move || Store::<Sqlite>::open(&url, leases, currency).unwrap();
        let service = Service::bind(open, config).await.unwrap();
        let (trigger, signals) = Signals::by_hand();
        let target = format!("static:///{}", service.local_addr());
        let channel = Channel::builder(target).wait_for_ready(true).build().unwrap();
        let running = tokio::spawn(service.run(signals));
        let orders = OrderServiceClient::new(channel.clone());
        self.pods.push(Pod { orders, channel, trigger, running });
    }

    pub(crate) fn store(&self) -> Store<Sqlite> {
        self.place.store(LONG)
    }
}

impl Pod {
    /// Places an order, as patiently as a test is.
    pub(crate) async fn place(
        &self,
        request: PlaceOrderRequest,
    ) -> Result<PlaceOrderReply, Status> {
        self.place_within(request, PATIENCE).await
    }

    pub(crate) async fn place_within(
        &self,
        request: PlaceOrderRequest,
        timeout: Duration,
    ) -> Result<PlaceOrderReply, Status> {
        let mut request = Request::new(request);
        request.set_timeout(timeout);
        self.orders.clone().place_order(request).await.map(tonic::Response::into_inner)
    }

    /// Stops it as SIGTERM would.
    pub(crate) async fn stop(self) -> Summary {
        self.trigger.fire();
        self.running.await.unwrap()
    }
}

pub(crate) fn order(key: &str, amount: &str, on_duplicate: OnDuplicate) -> PlaceOrderRequest {
    PlaceOrderRequest {
        account_id: 1,
        idempotency_key: key.into(),
        amount: amount.into(),
        on_duplicate: on_duplicate.into(),
        ..PlaceOrderRequest::default()
    }
}

pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> Reason {
    let status = answer.unwrap_err();
    Failure::of(&status).unwrap_or_else(|| panic!("no failure of ours: {status:?}")).reason()
}
