//! Start-up and shutdown: what is put together, in which order, and how it is taken apart.

use std::net::SocketAddr;

use database::{Lineage, Reason, Unready};
use proto::account::v1::account_service_server::AccountServiceServer;
use server::{BindError, Bound, Server, Signals, Summary, stopped};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Config,
    desk::{self, Desk, DeskWorkers},
    grpc::{AccountService, RULES},
    storage::{Store, Tables},
    sweeper,
};

/// What readiness says of a database that went back in time.
const ACCEPT: &str = "docs/restore.md says how to go on with `account-service resume`";

/// An account service whose ports are taken. Production and tests run the same one.
#[derive(Debug)]
pub struct Service {
    bound: Bound,
    workers: DeskWorkers,
    sweeping: JoinHandle<()>,
    stop: CancellationToken,
}

impl Service {
    /// Takes the ports and starts the workers. The database is not needed for it: connections are opened when they are
    /// first used, and until the database answers readiness is false and calls are UNAVAILABLE.
    ///
    /// # Errors
    /// When a port cannot be taken.
    pub async fn bind<B: Tables>(options: B::Options, config: Config) -> Result<Self, BindError> {
        let lineage = Lineage::of_process();
        let store = || Store::<B>::new(options.clone()).tracked(lineage.clone());
        let stores = |count| (0..count).map(|_| store()).collect();
        let Shares { writers, readers } = Shares::of(config.connections, B::WRITERS_MAX);
        let (desk, workers) = desk::open::<B>(lineage.clone(), stores(writers), stores(readers));
        let api = AccountService::new(desk.clone(), config.defaults);
        let bound = Server::new(config.serve)
            .service(AccountServiceServer::new(api))
            .rules(RULES)
            .reflection(proto::DESCRIPTOR_SET)
            .readiness("database", move || is_ready(desk.clone()))
            .bind()
            .await?;
        let stop = CancellationToken::new();
        let sweep = sweeper::sweep(store(), config.sweep_interval, stop.clone());
        Ok(Self { bound, workers, sweeping: tokio::spawn(sweep), stop })
    }

    /// Where gRPC is served.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.local_addr()
    }

    /// Where the admin HTTP is served.
    pub fn admin_addr(&self) -> SocketAddr {
        self.bound.admin_addr()
    }

    /// Serves until the first signal and drains. Calls end first, then the sweeper, then the workers, so that nothing
    /// that was begun is left undone.
    pub async fn run(self, signals: Signals) -> Summary {
        let summary = self.bound.run(signals).await;
        self.stop.cancel();
        stopped("sweeper", self.sweeping).await;
        stopped("workers", tokio::spawn(self.workers.stop())).await;
        summary
    }
}

/// How connections are shared out; the sweeper has one besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shares {
    writers: usize,
    readers: usize,
}

impl Shares {
    /// A third of the connections reads, the rest writes, as far as the database lets more than one write.
    fn of(connections: usize, writers_max: usize) -> Self {
        let shared = connections - 1;
        let writers = (shared - shared / 3).clamp(1, (shared - 1).max(1)).min(writers_max);
        Self { writers, readers: (shared - writers).max(1) }
    }
}

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
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => {
            Err(format!("the database is not the one that was seen before: {why}; {ACCEPT}"))
        }
        Err(trouble) => Err(trouble.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_shared_out_whole_and_nobody_gets_none() {
        for connections in 3..=256 {
            let Shares { writers, readers } = Shares::of(connections, usize::MAX);
            assert!(writers >= readers && readers >= 1, "{connections}");
            assert_eq!(writers + readers + 1, connections);
        }
        assert_eq!(Shares::of(8, 1), Shares { writers: 1, readers: 6 });
    }
}
