//! The listeners of a server, as one: they accept, drain and end together.
//!
//! Each has slots for connections of its own, so that a crowd at one does not shut the other.

use std::convert::Infallible;

use futures_util::future::{join_all, select_all};
use tokio::net::TcpListener;

use crate::accept::Acceptor;

#[derive(Debug)]
pub(crate) struct Doors(Vec<Acceptor>);

impl Doors {
    /// # Panics
    /// When there is none.
    pub(crate) fn new(acceptors: Vec<Acceptor>) -> Self {
        assert!(!acceptors.is_empty(), "a server has a listener");
        Self(acceptors)
    }

    /// Accepts until dropped, which closes the listeners: one for each acceptor, in their order.
    pub(crate) async fn accept_from(&self, listeners: Vec<TcpListener>) -> Infallible {
        let accepting = self.0.iter().zip(listeners);
        let accepting = accepting.map(|(door, listener)| Box::pin(door.accept_from(listener)));
        select_all(accepting).await.0
    }

    /// Resolves when no connection is open. Call it when no more are accepted.
    pub(crate) async fn wait_all_gone(&self) {
        join_all(self.0.iter().map(Acceptor::wait_all_gone)).await;
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.0.iter().map(Acceptor::open).sum()
    }

    pub(crate) fn connections_cut(&self) -> u64 {
        self.0.iter().map(Acceptor::connections_cut).sum()
    }

    pub(crate) fn calls_cut(&self) -> u64 {
        self.0.iter().map(Acceptor::calls_cut).sum()
    }
}
