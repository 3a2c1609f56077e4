//! Callers of both services, until they are told to stop: orders that are placed, some of them cancelled, and other
//! callers' reservations beside them.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use proto::account::v1::{RefundRequest, ReleaseRequest};
use proto::order::v1::{
    CancelOrderRequest, ListOrdersRequest, OnDuplicate, OrderStatus, PlaceOrderRequest,
};
use tests::clients::Clients;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::support::{World, order_id};

pub(crate) const ACCOUNTS: i64 = 12;
pub(crate) const AMOUNT: i64 = 5;
pub(crate) const OPENING_BALANCE: i64 = 1_000_000;

/// So many orders later an order is cancelled.
const LATER: usize = 3;

/// Callers, one for each account.
pub(crate) struct Traffic {
    stop: watch::Sender<bool>,
    callers: Vec<JoinHandle<u32>>,
}

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Place and cancel, so that the balances can be told from the orders.
    Orders,
    /// Also reservations, holds, and partial refunds of callers that are not the order service.
    Everything,
}

impl Traffic {
    pub(crate) async fn start(world: &World, kind: Kind) -> Self {
        let stop = watch::Sender::new(false);
        let mut callers = Vec::new();
        for account in 1..=ACCOUNTS {
            world.open(account, &OPENING_BALANCE.to_string()).await;
            let caller = Caller { clients: world.clients.clone(), account, kind };
            callers.push(tokio::spawn(caller.go_on(stop.subscribe())));
        }
        Self { stop, callers }
    }

    /// Answers how many orders were placed.
    pub(crate) async fn stop(self) -> u32 {
        self.stop.send_replace(true);
        join_all(self.callers).await.into_iter().map(Result::unwrap).sum()
    }
}

struct Caller {
    clients: Clients,
    account: i64,
    kind: Kind,
}

impl Caller {
    /// What fails is left: pods are killed under these callers.
    async fn go_on(self, stop: watch::Receiver<bool>) -> u32 {
        let (mut placed, mut recent) = (0, VecDeque::new());
        for round in 0_u32.. {
            if *stop.borrow() {
                break;
            }
            let Some(order) = self.place(round).await else { continue };
            placed += 1;
            if self.kind == Kind::Everything {
                self.others(round, &order).await;
            }
            // Some are cancelled after a while, when a reader may just have seen them placed.
            recent.push_back(order);
            if recent.len() > LATER {
                let order = recent.pop_front().expect("it is not empty");
                if round % 3 > 0 {
                    self.cancel(&order).await;
                }
            }
        }
        placed
    }

    async fn place(&self, round: u32) -> Option<String> {
        let request = PlaceOrderRequest {
            account_id: self.account,
            idempotency_key: format!("key-{round}"),
            amount: AMOUNT.to_string(),
            lines: Vec::new(),
            on_duplicate: OnDuplicate::Replay.into(),
            currency: String::new(),
        };
        let pod = (self.account as usize + round as usize) % self.clients.orders.len();
        let mut request = tonic::Request::new(request);
        request.set_timeout(Duration::from_secs(5));
        match self.clients.orders[pod].clone().place_order(request).await {
            Ok(reply) => Some(reply.into_inner().order.unwrap().order_id),
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                None
            }
        }
    }

    async fn cancel(&self, order: &str) {
        let request = CancelOrderRequest { account_id: self.account, order_id: order.to_owned() };
        drop(self.clients.orders[0].clone().cancel_order(request).await);
    }

    /// Holds that look like the order service's and come to an end; a part of an order's money given back.
    async fn others(&self, round: u32, order: &str) {
        let (account_id, accounts) = (self.account, &self.clients.accounts);
        match round % 3 {
            0 => {
                let id = uuid::Uuid::from_u128(u128::from(round) << 64 | 4 << 76 | 8 << 60);
                let reserve_id = id.to_string();
                let request = proto::account::v1::ReserveRequest {
                    account_id,
                    amount: "1".into(),
                    reserve_id: reserve_id.clone(),
                    order_id: reserve_id,
                    ttl: None,
                    currency: String::new(),
                };
                drop(accounts.clone().reserve(request).await);
            }
            1 => {
                let request = ReleaseRequest { account_id, reserve_id: order_id() };
                drop(accounts.clone().release(request).await);
            }
            _ => {
                // Refused while the order's money is only held.
                let (reserve_id, refund_id) = (order.to_owned(), format!("goodwill-{round}"));
                let amount = "2".into();
                let request = RefundRequest { account_id, reserve_id, refund_id, amount };
                drop(accounts.clone().refund(request).await);
            }
        }
    }
}

/// Every account has what its placed orders left it, and nothing is held.
pub(crate) async fn check_balances(world: &World) {
    for account in 1..=ACCOUNTS {
        let orders = placed_orders(world, account).await;
        let spent = orders * AMOUNT;
        let stands = world.account(account).await;
        assert_eq!(stands.balance, (OPENING_BALANCE - spent).to_string(), "account {account}");
        assert_eq!(stands.reserved, "0", "account {account}");
    }
}

/// How many orders of an account are not cancelled.
async fn placed_orders(world: &World, account_id: i64) -> i64 {
    let (mut count, mut page_token) = (0, String::new());
    loop {
        let request = ListOrdersRequest { account_id, page_size: 500, page_token };
        let page = world.clients.orders[0].clone().list_orders(request).await.unwrap();
        let page = page.into_inner();
        let placed = page.orders.iter().filter(|order| order.status() == OrderStatus::Placed);
        count += placed.count() as i64;
        if page.next_page_token.is_empty() {
            return count;
        }
        page_token = page.next_page_token;
    }
}
