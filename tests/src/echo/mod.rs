//! The smallest service that tells what the channel needs to know: whether a call ran, and how often.
//!
//! Spoken by the benchmark and the scenarios, over our channel and over tonic's alike.

mod service;

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::{Grpc, GrpcService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

pub use self::service::{Echo, Executed};

/// Does some work and says who did it. Idempotent by the service config of the scenarios.
pub const PING: &str = "/scenario.Echo/Ping";
/// As `PING`, but not to be run twice.
pub const PING_ONCE: &str = "/scenario.Echo/PingOnce";
/// Pings without end.
pub const WATCH: &str = "/scenario.Echo/Watch";

/// The one message, question and answer alike.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Ping {
    /// The call's number, unique within a run.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// How long the server should take.
    #[prost(uint32, tag = "2")]
    pub work_ms: u32,
    /// Which server answered.
    #[prost(uint32, tag = "3")]
    pub server: u32,
}

/// What a channel under test has to be.
pub trait Caller:
    GrpcService<
        tonic::body::Body,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
        Future: Send,
        Error: Into<BoxError>,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> Caller for T where
    T: GrpcService<
            tonic::body::Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send>
                              + Send
                              + 'static,
            Future: Send,
            Error: Into<BoxError>,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One unary call.
pub async fn ping<C: Caller>(
    channel: &C,
    method: &'static str,
    ping: Ping,
    timeout: Option<Duration>,
) -> Result<Response<Ping>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    let mut request = Request::new(ping);
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    ready(&mut grpc).await?;
    grpc.unary(request, PathAndQuery::from_static(method), ProstCodec::default()).await
}

/// A stream of pings.
pub async fn watch<C: Caller>(channel: &C, ping: Ping) -> Result<Streaming<Ping>, Status> {
    let mut grpc = Grpc::new(channel.clone());
    ready(&mut grpc).await?;
    let path = PathAndQuery::from_static(WATCH);
    let answer = grpc.server_streaming(Request::new(ping), path, ProstCodec::default()).await?;
    Ok(answer.into_inner())
}

async fn ready<C: Caller>(grpc: &mut Grpc<C>) -> Result<(), Status> {
    let broken = |error: C::Error| Status::from_error(error.into());
    grpc.ready().await.map_err(broken)
}
