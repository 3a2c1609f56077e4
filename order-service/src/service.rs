//! Start-up and shutdown: what is put together, in which order, and how it is taken apart.

use std::{future, net::SocketAddr, time::Duration};

use client::BuildError;
use database::{Lineage, Reason, Unready};
use proto::order::v1::{
    catalog_service_server::CatalogServiceServer, order_service_server::OrderServiceServer,
};
use redis::RedisError;
use server::{BindError, Bound, Server, Signals, Summary, stopped};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    accounts::Accounts,
    args::{self, Config},
    desk::{self, Desk, DeskWorkers},
    grpc::{CatalogApi, OrderApi, RULES},
    guard::Guard,
    housekeeping::{self, Upkeep},
    ledger_link::Introducer,
    order::standing,
    placement::{Parts, Placement},
    settler,
    storage::{Leases, Store},
};

/// After the last call ended: how long flights whose callers left may go on.
pub const FLIGHTS_TIMEOUT: Duration = Duration::from_secs(8);

/// What readiness says of a database that went back in time.
const ACCEPT: &str = "docs/restore.md says how to go on with `order-service resume`";

/// An order service whose ports are taken. Production and tests run the same one.
pub struct Service {
    bound: Bound,
    placement: Placement,
    workers: DeskWorkers,
    introducing: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    settling: JoinHandle<()>,
    stop_housekeeping: CancellationToken,
    stop_settling: CancellationToken,
    stop_introducing: CancellationToken,
}

/// Why a service could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be taken.
    #[error("cannot serve")]
    Bind(#[from] BindError),
    /// The account service's address cannot be one.
    #[error("cannot make a channel to the account service")]
    Channel(#[from] BuildError),
    /// The connection to Redis cannot be set up.
    #[error("cannot set up the connection to Redis")]
    Redis(#[from] RedisError),
}

impl Service {
    /// Takes the ports and starts the workers. Neither the database nor the account service is needed for it: until
    /// the database answers, readiness is false and calls are UNAVAILABLE.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn bind<S: Store>(
        open: impl Fn() -> S,
        writers_max: usize,
        config: Config,
    ) -> Result<Self, StartError> {
        let (stop_housekeeping, stop_settling) =
            <(CancellationToken, CancellationToken)>::default();
        let Shares { writers, readers } = Shares::of(config.connections, writers_max);
        let lineage = Lineage::of_process();
        let tracked = || open().tracked(lineage.clone());
        let stores = |count| (0..count).map(|_| tracked()).collect();
        let (desk, workers) = desk::open(lineage.clone(), stores(writers), stores(readers));
        let channel =
            args::account_channel(&config.account_target, config.account_backoff_max).build()?;
        let (introducer, link) = Introducer::new(desk.clone(), channel.clone());
        let accounts = Accounts::new(channel, link.clone(), config.account_timeout, new_id);
        let (notices, told) = mpsc::channel(settler::QUEUE);
        let guard = match &config.redis {
            Some(address) => Guard::open(address, config.leases.key, new_id())?,
            None => Guard::absent(),
        };
        let placement = Placement::new(Parts {
            desk: desk.clone(),
            guard,
            accounts: accounts.clone(),
            link: link.clone(),
            outlives: outlives(&config.leases),
            notices: notices.clone(),
            new_id,
        });
        let orders = OrderApi {
            placement: placement.clone(),
            desk: desk.clone(),
            notices: notices.clone(),
            on_duplicate: config.on_duplicate,
            currency: config.currency,
        };
        let catalog = CatalogApi { desk: desk.clone(), currency: config.currency };
        let asked = desk.clone();
        let (upkeep, kept) = watch::channel(Upkeep::default());
        let bound = Server::new(config.serve)
            .service(OrderServiceServer::new(orders))
            .service(CatalogServiceServer::new(catalog))
            .rules(RULES)
            .reflection(proto::DESCRIPTOR_SET)
            .readiness("database", move || is_ready(asked.clone()))
            .readiness("ledger", move || std::future::ready(link.is_ready()))
            .readiness("keys", move || future::ready(kept.borrow().judge()))
            .bind()
            .await?;
        let settle = settler::settle(told, accounts, desk, stop_settling.clone());
        let rounds = config.rounds;
        let keep = housekeeping::keep(
            tracked(),
            placement.clone(),
            notices,
            rounds,
            upkeep,
            stop_housekeeping.clone(),
        );
        let (settling, housekeeping) = (tokio::spawn(settle), tokio::spawn(keep));
        let stop_introducing = CancellationToken::new();
        let introducing = tokio::spawn(introducer.run(stop_introducing.clone()));
        Ok(Self {
            bound,
            placement,
            workers,
            introducing,
            housekeeping,
            settling,
            stop_housekeeping,
            stop_settling,
            stop_introducing,
        })
    }

    /// Where gRPC is served.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Where the admin HTTP is served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.bound.admin_addr()
    }

    /// Serves until the first signal and drains: calls, of which those that only wait for another process are sent
    /// there, then housekeeping, which starts no more flights, then flights
    /// whose callers left, then notices, then the workers. What does not finish in its bound is left to another process,
    /// by lease.
    pub async fn run(self, signals: Signals) -> Summary {
        let closing = self.bound.closing();
        let send_away = async {
            closing.await;
            self.placement.send_away();
        };
        let (summary, ()) = tokio::join!(self.bound.run(signals), send_away);
        self.stop_housekeeping.cancel();
        stopped("housekeeping", self.housekeeping).await;
        let left = self.placement.finish(Instant::now() + FLIGHTS_TIMEOUT).await;
        if left > 0 {
            tracing::warn!(flights = left, "left orders undecided: their keys will be taken over");
        }
        self.stop_settling.cancel();
        stopped("settler", self.settling).await;
        self.stop_introducing.cancel();
        stopped("handshakes", self.introducing).await;
        stopped("workers", tokio::spawn(self.workers.stop())).await;
        summary
    }
}

/// How connections are shared out; housekeeping has one besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shares {
    writers: usize,
    readers: usize,
}

impl Shares {
    /// A quarter of the connections reads, the rest writes, as far as the database lets more than one write.
    fn of(connections: usize, writers_max: usize) -> Self {
        let shared = connections - 1;
        let readers = (shared / 4).max(1);
        let writers = (shared - readers).min(writers_max);
        Self { writers, readers: shared - writers }
    }
}

/// A database that went back in time serves nobody until an operator has accepted what is gone.
async fn is_ready(desk: Desk) -> Result<(), String> {
    match desk.unready().await {
        // What exactly contradicts is for the next question.
        Ok(None | Some(Unready::Away(Reason::WentBack))) => continues(&desk).await,
        Ok(Some(unready)) => Err(unready.to_string()),
        Err(trouble) => Err(trouble.to_string()),
    }
}

/// A database that went back in time serves nobody until an operator has accepted what is gone.
async fn continues(desk: &Desk) -> Result<(), String> {
    match desk.look().await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => {
            Err(format!("the database is not the one that was seen before: {why}; {ACCEPT}"))
        }
        Err(trouble) => Err(trouble.to_string()),
    }
}

/// How old a refusal in the ledger is that is older than any claim.
fn outlives(leases: &Leases) -> time::Duration {
    let give_up = time::Duration::try_from(leases.give_up);
    standing::outlives(give_up.expect("a flag of a day at most"))
}

/// Where ids come from: UUIDv7, so that new rows lie side by side in their indexes. Nothing relies on their order.
#[expect(clippy::disallowed_methods, reason = "the one id source; it is passed as a parameter")]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_whole_and_nobody_gets_none() {
        for connections in 3..=256 {
            let Shares { writers, readers } = Shares::of(connections, usize::MAX);
            assert!(writers >= 1 && readers >= 1, "{connections}");
            assert_eq!(writers + readers + 1, connections);
        }
        assert_eq!(Shares::of(6, 1), Shares { writers: 1, readers: 4 });
    }
}
