//! The channel: what a stub is made with.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::body::Body;
use crate::builder::Builder;
use crate::call::{self, RequestBody};
use crate::error::Error;
use crate::shared::Shared;
use crate::stats::Stats;

/// A gRPC channel. Clones share everything; the last one to go, calls included, ends its task.
#[derive(Clone)]
pub struct Channel {
    pub(crate) shared: Arc<Shared>,
}

impl Channel {
    /// Starts to set up a channel to `target`: `dns:///host:port`, `dns://server:53/host:port`,
    /// `static:///a:1,b:2`, `unix:///path`, `http://host:port` or plain `host:port`.
    pub fn builder(target: impl Into<String>) -> Builder {
        Builder::new(target.into())
    }

    /// What the channel did so far and how its endpoints stand.
    pub fn stats(&self) -> Stats {
        let endpoints = self.shared.pickers.borrow().endpoints();
        self.shared.telemetry.counters.snapshot(self.shared.setup.capacity.waiting(), endpoints)
    }

    /// Tries every endpoint that rests after failures at once, with its backoff begun anew, and looks the
    /// target up as soon as its rate allows: for a caller that knows that the network is back.
    pub fn reset_connect_backoff(&self) {
        self.shared.setup.hurry.notify_one();
    }

    /// Waits until the channel's endpoints look as asked, now or after any of their changes.
    pub async fn until(&self, mut looks: impl FnMut(&Stats) -> bool) -> Stats {
        let mut pickers = self.shared.pickers.clone();
        loop {
            pickers.mark_unchanged();
            let stats = self.stats();
            if looks(&stats) || pickers.changed().await.is_err() {
                return stats;
            }
        }
    }
}

impl<B: RequestBody> Service<Request<B>> for Channel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    /// Always ready: a call waits in its own future, where its deadline bounds it.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(call::run(Arc::clone(&self.shared), request))
    }
}
