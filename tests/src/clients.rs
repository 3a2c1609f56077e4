//! Stubs of a cluster's services.

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::order_service_client::OrderServiceClient;
use tonic::transport::Channel;

use crate::HarnessError;
use crate::cluster::{Cluster, connect};
use crate::load::Connections;

/// Connections to each pod of order-service. A pod takes 100 streams a connection, so a crowd of
/// 1,000 callers needs ten of them to be in flight at once instead of queueing in the client.
const CONNECTIONS_PER_POD: usize = 5;

/// Stubs for all that a test calls.
#[derive(Clone, Debug)]
pub struct Clients<C = Channel> {
    /// On the first account pod.
    pub accounts: AccountServiceClient<C>,
    /// On the first order pod.
    pub catalog: CatalogServiceClient<C>,
    /// One a connection; neighbours are on different pods.
    pub orders: Vec<OrderServiceClient<C>>,
}

impl Clients {
    /// Connects to all pods.
    ///
    /// # Errors
    /// When one cannot be reached.
    pub async fn connect(cluster: &Cluster) -> Result<Self, HarnessError> {
        let accounts = AccountServiceClient::new(connect(&cluster.account[0]).await?);
        let catalog = CatalogServiceClient::new(connect(&cluster.order[0]).await?);
        let mut orders = Vec::new();
        for _ in 0..CONNECTIONS_PER_POD {
            for pod in &cluster.order {
                orders.push(OrderServiceClient::new(connect(pod).await?));
            }
        }
        Ok(Self { accounts, catalog, orders })
    }
}

impl Clients<client::Channel> {
    /// Calls services that run already, by channels made elsewhere: order-service by each of its channels in turn.
    #[must_use]
    pub fn of(accounts: &Connections, orders: &Connections) -> Self {
        let first = orders.of_request(0);
        Self {
            accounts: AccountServiceClient::new(accounts.of_request(0)),
            catalog: CatalogServiceClient::new(first),
            orders: orders.iter().cloned().map(OrderServiceClient::new).collect(),
        }
    }
}
