//! What was promised to clients, held against what stands in the books.

use std::collections::HashMap;
use std::error::Error;
use std::ops::RangeInclusive;

use client::Channel;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use proto::order::v1::order_service_client::OrderServiceClient;
use proto::order::v1::{ListOrdersRequest, Order};
use tonic::Status;
use uuid::Uuid;

use crate::callers::Callers;

/// Calls under way at once while reading.
const AT_ONCE: usize = 16;
const PAGE: i32 = 500;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    /// Orders of this run.
    pub(crate) orders: u64,
    /// Requests whose key has more than one order.
    pub(crate) duplicates: Vec<u64>,
    /// Requests that were answered with an order that is not there.
    pub(crate) missing: Vec<u64>,
    /// Orders whose request never got an answer: its client gave up.
    pub(crate) untold: u64,
}

/// Reads every order of the run through the service itself.
pub(crate) async fn audit(
    callers: &Callers,
    target: &str,
    accounts: RangeInclusive<i64>,
) -> Result<Audit, Box<dyn Error>> {
    let channel = Channel::builder(target).wait_for_ready(true).build()?;
    let stub = OrderServiceClient::new(channel);
    let lists: Vec<Vec<Order>> = stream::iter(accounts)
        .map(|account| orders_of(stub.clone(), account))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let prefix = callers.mix.key(0);
    let prefix = prefix.strip_suffix('0').expect("a key ends in its number");
    let placed = lists.into_iter().flatten().filter_map(|order| {
        let number = order.idempotency_key.strip_prefix(prefix)?.parse::<u64>().ok()?;
        Some((number, order.order_id.parse::<Uuid>().ok()?))
    });
    Ok(compare(placed, &callers.told()))
}

fn compare(placed: impl Iterator<Item = (u64, Uuid)>, told: &HashMap<u64, Uuid>) -> Audit {
    let mut by_number: HashMap<u64, Vec<Uuid>> = HashMap::new();
    let mut audit = Audit::default();
    for (number, order) in placed {
        audit.orders += 1;
        by_number.entry(number).or_default().push(order);
    }
    for (number, orders) in &by_number {
        if orders.len() > 1 {
            audit.duplicates.push(*number);
        }
        audit.untold += u64::from(!told.contains_key(number));
    }
    let is_there = |(number, order): &(&u64, &Uuid)| {
        by_number.get(number).is_some_and(|orders| orders.contains(order))
    };
    audit.missing = told.iter().filter(|it| !is_there(it)).map(|(number, _)| *number).collect();
    audit
}

async fn orders_of(
    mut stub: OrderServiceClient<Channel>,
    account_id: i64,
) -> Result<Vec<Order>, Status> {
    let (mut orders, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListOrdersRequest { account_id, page_size: PAGE, page_token };
        let page = stub.list_orders(request).await?.into_inner();
        orders.extend(page.orders);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(orders);
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_is_twice_what_is_missing_and_what_nobody_was_told_are_told_apart() {
        let order = Uuid::from_u128;
        let told = HashMap::from([(1, order(1)), (2, order(2)), (3, order(3)), (4, order(44))]);
        let placed = [(1, 1), (2, 2), (2, 22), (4, 4), (5, 5)];
        let audit = compare(placed.into_iter().map(|(n, id)| (n, order(id))), &told);
        let mut missing = audit.missing.clone();
        missing.sort_unstable();
        assert_eq!(audit.duplicates, [2]);
        assert_eq!(missing, [3, 4]);
        assert_eq!((audit.orders, audit.untold), (5, 1));
    }
}
