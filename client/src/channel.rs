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
