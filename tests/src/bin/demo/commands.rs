//! Commands for the person who wants to try it by hand.

use tests::cluster::Cluster;

/// grpcurl commands against the running pods, in an order in which they tell a story.
pub(crate) fn to_paste(cluster: &Cluster) -> String {
    let (account, order) = (cluster.account[0].address(), cluster.order[0].address());
    let other_order = cluster.order[1].address();
    let admin = cluster.order[0].admin();
    let logs = cluster.directory().display();
    format!(
        r#"
The pods stay up. To try by hand:

  grpcurl -plaintext {order} list
  grpcurl -plaintext {order} describe order.v1.OrderService.PlaceOrder
  grpcurl -plaintext -d '{{"account_id": 700, "opening_balance": "250"}}' {account} account.v1.AccountService/OpenAccount
  grpcurl -plaintext -d '{{"product_id": 700, "name": "Anchor", "price": "99.50", "stock": 3}}' {order} order.v1.CatalogService/PutProduct
  grpcurl -plaintext -d '{{"account_id": 700, "idempotency_key": "mine", "lines": [{{"product_id": 700, "quantity": 2}}]}}' {order} order.v1.OrderService/PlaceOrder

The same again, on the other pod: the first answer, replayed.

  grpcurl -plaintext -d '{{"account_id": 700, "idempotency_key": "mine", "lines": [{{"product_id": 700, "quantity": 2}}]}}' {other_order} order.v1.OrderService/PlaceOrder
  grpcurl -plaintext -d '{{"account_id": 700}}' {account} account.v1.AccountService/GetAccount
  grpcurl -plaintext -d '{{"account_id": 700}}' {account} account.v1.AccountService/ListEntries
  curl -s http://{admin}/q/health/ready
  curl -s http://{admin}/q/metrics | grep grpc_server_call_duration_seconds_count

Logs: {logs}/*.log
Ctrl-C stops everything."#
    )
}
