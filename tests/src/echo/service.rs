//! The serving side of the echo.

use std::convert::Infallible;
use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Stream, stream};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{PING, PING_ONCE, Ping, WATCH};

/// How fast a watch goes.
const WATCH_INTERVAL: Duration = Duration::from_millis(5);

/// Where a server writes down each call that it runs, before it answers. A file survives SIGKILL.
#[derive(Clone, Debug)]
pub struct Executed(Arc<File>);

impl Executed {
    /// Appends to this file.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(file)))
    }

    /// All numbers written to a file, by whichever servers, in order.
    pub fn read(path: &Path) -> io::Result<Vec<u64>> {
        let bytes = std::fs::read(path)?;
        let (numbers, _rest) = bytes.as_chunks::<8>();
        Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
    }

    fn write(&self, id: u64) -> io::Result<()> {
        // One small write to a file opened for appending is not torn.
        (&*self.0).write_all(&id.to_le_bytes())
    }
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Echo {
    server: u32,
    /// Every unary call takes this long on top of what it asks for.
    extra: Duration,
    executed: Option<Executed>,
}

impl Echo {
    /// A service that answers in the name of `server`.
    pub fn new(server: u32, extra: Duration, executed: Option<Executed>) -> Self {
        Self { server, extra, executed }
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "scenario.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(match request.uri().path() {
                PING | PING_ONCE => grpc.unary(echo, request).await,
                WATCH => grpc.server_streaming(Watch(echo), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl UnaryService<Ping> for Echo {
    type Response = Ping;
    type Future = BoxFuture<Response<Ping>, Status>;

    fn call(&mut self, request: Request<Ping>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let ping = request.into_inner();
            let work = echo.extra + Duration::from_millis(u64::from(ping.work_ms));
            if !work.is_zero() {
                tokio::time::sleep(work).await;
            }
            if let Some(executed) = &echo.executed {
                executed.write(ping.id).map_err(|error| Status::internal(error.to_string()))?;
            }
            Ok(Response::new(Ping { server: echo.server, ..ping }))
        })
    }
}

struct Watch(Echo);

impl ServerStreamingService<Ping> for Watch {
    type Response = Ping;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Ping, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Ping>) -> Self::Future {
        let answer = Ping { server: self.0.server, ..request.into_inner() };
        let endless = stream::unfold(answer, |answer| async move {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let next = Ping { id: answer.id + 1, ..answer.clone() };
            Some((Ok(answer), next))
        });
        ready(Ok(Response::new(Box::pin(endless))))
    }
}
