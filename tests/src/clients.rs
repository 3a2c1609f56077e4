//! Stubs of a cluster's services.

use proto::account::v1::account_service_client::AccountServiceClient;
use proto::order::v1::catalog_service_client::CatalogServiceClient;
use proto::order::v1::order_service_client::OrderServiceClient;
use tonic::transport::Channel;

use crate::HarnessError;
use crate::cluster::{Cluster, connect};

/// Connections to each pod of order-service. A pod takes 100 streams a connection, so a crowd of
/// 1,000 callers needs ten of them to be in flight at once instead of queueing in the client.
const CONNECTIONS_PER_POD: usize = 5;

/// Stubs for all that a test calls.
#[derive(Clone, Debug)]
pub struct Clients {
    /// On the first account pod.
    pub accounts: AccountServiceClient<Channel>,
    /// On the first order pod.
    pub catalog: CatalogServiceClient<Channel>,
    /// One a connection; neighbours are on different pods.
    pub orders: Vec<OrderServiceClient<Channel>>,
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
