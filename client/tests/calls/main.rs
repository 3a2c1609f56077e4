//! Calls over a network in memory, with time standing still: what is sent, when, and to whom.

#![expect(clippy::unwrap_used, reason = "a test's helper fails its test by panicking")]

mod balancing;
mod capacity;
mod deadlines;
mod endpoints;
mod garbage;
mod hedging;
mod keepalive;
mod metrics;
mod network;
mod pings;
mod properties;
mod retries;
mod sizes;
mod streams;

use std::time::Duration;

use bytes::Bytes;
use client::{Builder, CallOptions, Channel, Code, Error};
use http::Request;
use http_body_util::{BodyExt, Full};
use tower_service::Service;

use crate::network::Network;

const METHOD: &str = "/test.Service/Method";

/// A channel into that network, always with the same random choices.
fn builder(network: &Network, config: &str) -> Builder {
    Channel::builder("test:1")
        .resolver(network.clone())
        .transport(network.clone())
        .service_config(config)
        .seed(7)
}

fn channel(network: &Network, config: &str) -> Channel {
    builder(network, config).build().unwrap()
}

fn request() -> Request<Full<Bytes>> {
    let body = Full::new(Bytes::from_static(b"\0\0\0\0\x05hello"));
    Request::post(METHOD).header("content-type", "application/grpc").body(body).unwrap()
}

/// The status of one unary call: the server's, or the channel's own.
async fn call(channel: &Channel) -> Result<Code, Error> {
    send(channel, request()).await
}

async fn call_within(channel: &Channel, timeout: Duration) -> Result<Code, Error> {
    let mut request = request();
    request.extensions_mut().insert(CallOptions::default().timeout(timeout));
    send(channel, request).await
}

async fn call_waiting(channel: &Channel) -> Result<Code, Error> {
    let mut request = request();
    request.extensions_mut().insert(CallOptions::default().wait_for_ready(true));
    send(channel, request).await
}

async fn send(channel: &Channel, request: Request<Full<Bytes>>) -> Result<Code, Error> {
    let response = channel.clone().call(request).await?;
    let in_headers = response.headers().get("grpc-status").cloned();
    let collected = response.into_body().collect().await?;
    let in_trailers = collected.trailers().and_then(|it| it.get("grpc-status")).cloned();
    let status = in_headers.or(in_trailers).expect("no answer ends without a status");
    Ok(Code::from_number(status.to_str().unwrap().parse().unwrap()).unwrap())
}
