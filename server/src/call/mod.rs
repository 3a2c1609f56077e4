//! What happens around every call, outer to inner: is it gRPC ([`media`]) → record, span and audit line → port → caller
//! and rights → the caller's admission → deadline → panic guard → decompression and message size → the tonic service.
//!
//! The record is outermost so that refused calls are measured and audited too. Who calls is known before admission, so
//! that a call is counted for its caller, and a refused one takes nobody's place. A check of a token that is not known yet is the one
//! thing that costs before admission, and has a bound of its own (`auth::checks`). Admission stands before anything else
//! that costs. The panic guard is inside the deadline and the record, so a panic is one measured INTERNAL answer on a
//! connection that goes on.

mod admission;
mod body;
mod compression;
mod deadline;
mod media;
mod message_size;
mod methods;
mod record;
mod trace;
mod web;

use std::convert::Infallible;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower_service::Service;
use tracing::Instrument;

pub use deadline::Deadline;

pub(crate) use admission::Admission;
pub(crate) use body::ResponseBody;
pub(crate) use methods::{Marks, Method, Methods};
pub(crate) use record::{Activity, Totals, code_name};

use crate::auth::{Admitted, Gate, Peer, Principal};
use crate::caller::CallerKey;
use crate::surface::Arrival;
use crate::trail::{Pending, Trail};
use crate::{GrpcWeb, PeerCertificate};
use compression::{ACCEPTED, Encoding, GRPC_ACCEPT_ENCODING};
use media::Media;
use message_size::RequestBody;
use record::Record;

/// What all calls of a server share.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) routes: Routes,
    pub(crate) methods: Methods,
    /// `None`: callers are not asked who they are.
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) admission: Admission,
    pub(crate) totals: Arc<Totals>,
    /// `None`: it is off.
    pub(crate) trail: Option<Arc<Trail>>,
    pub(crate) max_message_bytes: u32,
    pub(crate) default_deadline: Duration,
    pub(crate) max_deadline: Duration,
    pub(crate) body_timeout: Duration,
    /// `None`: it is not served.
    pub(crate) web: Option<GrpcWeb>,
}

/// A request as it comes in: from hyper, or translated from gRPC-Web.
type Inbound = Either<Incoming, tonic::body::Body>;

/// The answer to a call, or to what is not one, or to one translated to gRPC-Web.
type Outbound = Either<ResponseBody, tonic::body::Body>;

/// The calls of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionCalls {
    pub(crate) calls: Arc<Calls>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) arrival: Arrival,
    /// What its client proved to be.
    pub(crate) certificate: Option<PeerCertificate>,
    pub(crate) peer: Arc<Peer>,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionCalls {
    type Response = Response<Outbound>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        match media::judge(&request, self.calls.web.as_ref()) {
            Ok(Media::Grpc) => {
                let answered = self.begin(request.map(Either::Left));
                Box::pin(async move { Ok(answered.await.map(Either::Left)) })
            }
            Ok(Media::Web(origin)) => {
                let answered = web::answer(self.clone(), request, origin);
                Box::pin(async move { Ok(answered.await.map(Either::Right)) })
            }
            Ok(Media::Preflight(origin)) => {
                Box::pin(ready(Ok(web::preflight(origin).map(Either::Right))))
            }
            Err(why) => {
                tracing::debug!(?why, peer = %self.arrival.peer, "request is not gRPC");
                Box::pin(ready(Ok(why.response().map(Either::Right))))
            }
        }
    }
}

impl ConnectionCalls {
    /// Begins a call; the future is its answer.
    fn begin(
        &self,
        mut request: Request<Inbound>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + use<> {
        if let Some(certificate) = self.certificate.clone() {
            request.extensions_mut().insert(certificate);
        }

        let method = self.calls.methods.find(request.uri().path());
        let span = trace::span(&method, request.headers());
        let mut record =
            self.calls.totals.begin(method.clone(), self.activity.clone(), span.clone());
        if let Some(trail) = self.calls.trail.clone().filter(|_| method.is_audited()) {
            let trace_id = trace::trace_id(request.headers());
            let pending = Pending::new(trail, self.arrival.peer, trace_id, now());
            request.extensions_mut().insert(pending.audit());
            record.audit(pending);
        }

        let (connection, calls) = (self.clone(), self.calls.clone());
        let answer = async move { calls.answer(request, &connection, &method, record).await };
        answer.instrument(span)
    }
}

impl Calls {
    async fn answer(
        &self,
        mut request: Request<Inbound>,
        connection: &ConnectionCalls,
        method: &Method,
        mut record: Record,
    ) -> Response<ResponseBody> {
        if let Err(elsewhere) = connection.arrival.surface.check(method) {
            return ResponseBody::refusal(elsewhere, &mut record);
        }

        let caller = self.identify(request.headers(), &connection.peer, method, &mut record).await;
        let caller = match caller {
            Ok(caller) => caller,
            Err(refusal) => return ResponseBody::refusal(refusal, &mut record),
        };
        let key = CallerKey::of(&caller.principal, connection.peer.address);
        caller.mark(request.extensions_mut());

        let admitted = self.admission.admit(method, &key, &connection.activity);
        let admitted = admitted.and_then(|hold| {
            let default = method.is_unary().then_some(self.default_deadline);
            Ok((hold, Deadline::of(request.headers(), default, self.max_deadline)?))
        });
        let (hold, deadline) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return ResponseBody::refusal(refusal, &mut record),
        };

        record.hold(hold);
        let due = method.takes_one_message().then(|| now() + self.body_timeout);
        let caller = self.admission.caller(key);
        match caller.served(self.serve(request, deadline, due)).await {
            Ok(response) => ResponseBody::wrap(response, record, deadline),
            Err(status) => ResponseBody::refusal(status, &mut record),
        }
    }

    /// Who calls, and how far it may go. The audit trail is told who is denied, too.
    async fn identify(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        method: &Method,
        record: &mut Record,
    ) -> Result<Admitted, Status> {
        let Some(gate) = &self.gate else {
            let anybody = Admitted::anybody();
            record.called_by(&anybody.principal);
            return Ok(anybody);
        };
        let known = |principal: &Principal| record.called_by(principal);
        gate.admit(method.rule(), peer, headers, known).await.map_err(|denied| {
            tracing::debug!(%denied, peer = ?peer.address, "call refused");
            gate.refusal(denied)
        })
    }

    async fn serve(
        &self,
        mut request: Request<Inbound>,
        deadline: Option<Deadline>,
        due: Option<Instant>,
    ) -> Result<Response<tonic::body::Body>, Status> {
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let encoding = Encoding::take(request.headers_mut());
        let max = self.max_message_bytes;
        let request = request.map(|body| RequestBody::new(body, encoding, max, due));
        let mut routes = self.routes.clone();
        let handler = AssertUnwindSafe(async move { routes.call(request).await }).catch_unwind();
        let answer = match deadline {
            Some(Deadline(at)) => {
                timeout_at(at, handler).await.map_err(|_| deadline::exceeded())?
            }
            None => handler.await,
        };
        match answer {
            Ok(Ok(mut response)) => {
                // The service refused an encoding, and told what it knows itself: nothing.
                if let Some(accepted) = response.headers_mut().get_mut(GRPC_ACCEPT_ENCODING) {
                    *accepted = ACCEPTED;
                }
                Ok(response)
            }
            Ok(Err(never)) => match never {},
            Err(panic) => Err(panicked(panic.as_ref())),
        }
    }
}

/// Logs and counts a panic. The caller learns nothing about it but the code.
fn panicked(panic: &(dyn std::any::Any + Send)) -> Status {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("not a text");
    tracing::error!(panic = message, "handler panicked");
    metrics::counter!(crate::metrics::PANICS).increment(1);
    Status::new(Code::Internal, "internal error")
}

/// Now, by the clock that deadlines are measured with.
fn now() -> Instant {
    Instant::now()
}
