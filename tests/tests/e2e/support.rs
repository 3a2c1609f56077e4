//! A cluster on either database, and the calls that most tests make.

use std::time::Duration;

use holdfast_verify::Settings;
use proto::account::v1::{Account, GetAccountRequest, OpenAccountRequest};
use proto::order::v1::{
    ListOrdersRequest, OnDuplicate, Order, PlaceOrderReply, PlaceOrderRequest, PutProductRequest,
};
use tests::clients::Clients;
use tests::cluster::{Binaries, Cluster, Databases, Plan};
use tests::postgres::Postgres;
use tonic::{Request, Status};

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// A cluster and what it stands on.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) clients: Clients,
    pub(crate) postgres: Option<Postgres>,
}

impl World {
    pub(crate) async fn start(backend: Backend, plan: Plan) -> Self {
        let binaries = Binaries::build().unwrap();
        let (postgres, databases) = match backend {
            Backend::Sqlite => (None, None),
            Backend::Postgres => {
                let server = Postgres::start().await.unwrap();
                let account = server.create_database("account").await.unwrap();
                let order = server.create_database("orders").await.unwrap();
                (Some(server), Some(Databases { account, order }))
            }
        };
        let cluster = Cluster::start(binaries, Plan { databases, ..plan }).await.unwrap();
        let clients = Clients::connect(&cluster).await.unwrap();
        Self { cluster, clients, postgres }
    }

    /// Opens an account.
    pub(crate) async fn account(&self, account_id: i64, opening_balance: &str) {
        let (currency, opening_balance) = (String::new(), opening_balance.to_owned());
        let request = OpenAccountRequest { account_id, currency, opening_balance };
        self.clients.accounts.clone().open_account(request).await.unwrap();
    }

    /// Puts a product.
    pub(crate) async fn product(&self, product_id: i64, price: &str, stock: i64) {
        let (name, price) = (format!("product {product_id}"), price.to_owned());
        let currency = String::new();
        let request = PutProductRequest { product_id, name, price, stock, currency };
        self.clients.catalog.clone().put_product(request).await.unwrap();
    }

    /// Places an order on the pod of this index (from 0).
    pub(crate) async fn place(
        &self,
        pod: usize,
        request: PlaceOrderRequest,
        deadline: Duration,
    ) -> Result<PlaceOrderReply, Status> {
        place(&self.clients, pod, request, deadline).await
    }

    pub(crate) async fn orders_of(&self, pod: usize, account_id: i64) -> Vec<Order> {
        let request = ListOrdersRequest { account_id, page_size: 500, page_token: String::new() };
        self.clients.orders[pod].clone().list_orders(request).await.unwrap().into_inner().orders
    }

    /// Over all pages.
    pub(crate) async fn count_orders(&self, account_id: i64) -> usize {
        let (mut count, mut page_token) = (0, String::new());
        loop {
            let request = ListOrdersRequest { account_id, page_size: 500, page_token };
            let page = self.clients.orders[0].clone().list_orders(request).await.unwrap();
            let page = page.into_inner();
            count += page.orders.len();
            if page.next_page_token.is_empty() {
                return count;
            }
            page_token = page.next_page_token;
        }
    }

    pub(crate) async fn read_account(&self, account_id: i64) -> Result<Account, Status> {
        let read =
            self.clients.accounts.clone().get_account(GetAccountRequest { account_id }).await;
        read.map(tonic::Response::into_inner)
    }

    /// Waits until nothing is held on the account any more, and answers it.
    pub(crate) async fn settled_account(&self, account_id: i64) -> Account {
        let settled = async {
            loop {
                match self.read_account(account_id).await {
                    Ok(account) if account.reserved == "0" => return account,
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), settled).await.expect("a hold was left")
    }

    /// Stops all pods and has both services check their books.
    pub(crate) async fn stop_and_verify(&mut self) {
        self.cluster.stop().unwrap();
        self.cluster.verify().unwrap();
        let Databases { account, order } = self.cluster.databases();
        let (account, order) = (account.parse().unwrap(), order.parse().unwrap());
        let report = holdfast_verify::verify(&account, &order, Settings::at_rest()).await.unwrap();
        assert!(report.ok, "{report:?}");
    }
}

pub(crate) async fn place(
    clients: &Clients,
    connection: usize,
    request: PlaceOrderRequest,
    deadline: Duration,
) -> Result<PlaceOrderReply, Status> {
    let mut request = Request::new(request);
    request.set_timeout(deadline);
    let mut orders = clients.orders[connection % clients.orders.len()].clone();
    orders.place_order(request).await.map(tonic::Response::into_inner)
}

/// An order for an amount.
pub(crate) fn order(account_id: i64, key: &str, amount: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        account_id,
        idempotency_key: key.to_owned(),
        amount: amount.to_owned(),
        lines: Vec::new(),
        on_duplicate: OnDuplicate::Replay.into(),
        currency: String::new(),
    }
}

/// Polls a state, with a bound.
pub(crate) async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("never came to: {what}"));
}
