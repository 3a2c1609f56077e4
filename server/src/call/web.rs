//! gRPC-Web: what browsers can send, made gRPC around everything else that happens to a call.
//!
//! `tonic-web` translates, outermost: so a call from a page has the same record, rights, admission, deadline and bounds as
//! any other, and a refusal reaches the page as a status. Text (base64) is decoded as it comes in, and what it decodes to
//! has the bound of any message. Which pages may call is [`GrpcWeb::origins`]: answers name the page's origin
//! (CORS), never `*`, and no cookie or client certificate goes along, since `access-control-allow-credentials` is never
//! said.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower_layer::Layer;
use tower_service::Service;

use super::{ConnectionCalls, ResponseBody};

/// All that gRPC-Web may be sent as.
pub(super) const CONTENT_TYPES: [&[u8]; 4] = [
    b"application/grpc-web",
    b"application/grpc-web+proto",
    b"application/grpc-web-text",
    b"application/grpc-web-text+proto",
];

/// What pages may send beyond what any page may: gRPC's own, a bearer token, and a trace.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization,content-type,grpc-accept-encoding,grpc-encoding,grpc-timeout,traceparent,tracestate,x-grpc-web,x-user-agent",
);

/// What they may read: a refusal has its status here.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "grpc-message,grpc-retry-pushback-ms,grpc-status,grpc-status-details-bin",
);

/// How long a browser may remember a preflight's answer, in seconds; none remembers it for longer.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Answers a call of gRPC-Web.
pub(super) async fn answer(
    connection: ConnectionCalls,
    request: Request<Incoming>,
    origin: Option<HeaderValue>,
) -> Response<Body> {
    let mut translated = GrpcWebLayer::new().layer(Translated(connection));
    let mut response = match translated.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if let Some(origin) = origin {
        allow(origin, response.headers_mut());
        response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    response
}

/// Answers a browser that asks whether a page of this origin may call.
pub(super) fn preflight(origin: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(origin, headers);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(VARY, HeaderValue::from(ORIGIN));
}

/// The calls of a connection as tonic-web sees them: requests that are gRPC by now.
#[derive(Clone, Debug)]
struct Translated(ConnectionCalls);

impl Service<Request<Body>> for Translated {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answered = self.0.begin(request.map(Either::Right));
        Box::pin(async move { Ok(answered.await) })
    }
}
