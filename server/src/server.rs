//! Putting a server together and binding it. Running it is [`run`](crate::run).

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use credentials::{InForce, Reloader};
use http::Request;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::auth::{Access, AuthError, Gate, Rules};
use crate::call::{Admission, Calls, Marks, Methods, Totals};
use crate::health::{self, Check, GrpcHealth, Health};
use crate::phase::{Phase, PhaseWatch};
use crate::trail::Trail;
use crate::{AuditLog, ServeConfig, TlsError, TlsFiles};

/// A server being put together. [`Server::bind`] turns it into a [`Bound`] one.
pub struct Server {
    config: ServeConfig,
    routes: Routes,
    services: Vec<&'static str>,
    descriptor_sets: Vec<&'static [u8]>,
    marks: Marks,
    rules: Option<Rules>,
    checks: Vec<Check>,
}

/// A server whose ports are taken and whose clients wait in the backlog until
/// [`Bound::run`].
pub struct Bound {
    pub(crate) config: ServeConfig,
    pub(crate) listener: TcpListener,
    pub(crate) admin_grpc_listener: Option<TcpListener>,
    pub(crate) admin_listener: TcpListener,
    pub(crate) addresses: Addresses,
    pub(crate) tls: Option<(InForce<ServerConfig>, Reloader<TlsFiles>)>,
    pub(crate) health: Arc<Health>,
    pub(crate) checks: Vec<Check>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) phase: watch::Sender<Phase>,
}

/// What every generated tonic service is. Implemented for all that fit; never by hand.
pub trait TonicService:
    Service<
        Request<Body>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> TonicService for S where
    S: Service<
            Request<Body>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Where a bound server listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) admin_grpc: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

/// Why a server could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The gRPC or the admin address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
    /// The file of the audit trail cannot be written, or its writer not be started.
    #[error("cannot write the audit trail {0:?}")]
    AuditLog(AuditLog, #[source] io::Error),
    /// A method is to be audited or administrative that no service has.
    #[error("there is no method {0}")]
    UnknownMethod(&'static str),
    /// Callers cannot be told apart.
    #[error("cannot recognise callers")]
    Auth(#[from] AuthError),
    /// Callers are to be asked for their rights, and it was not said which.
    #[error("there are no rules for callers")]
    NoRules,
    /// Methods without a rule, or rules without a method: a mistake in the program.
    #[error("rules and methods differ: {}", .0.join(", "))]
    Rules(Vec<String>),
    /// A descriptor set does not decode.
    #[error("bad descriptor set")]
    Descriptors(#[source] prost::DecodeError),
    /// A descriptor set cannot be reflected.
    #[error("descriptor set cannot be served by reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
}

impl Server {
    /// A server without services.
    #[must_use]
    pub fn new(config: ServeConfig) -> Self {
        Self {
            config,
            routes: Routes::default(),
            services: Vec::new(),
            descriptor_sets: Vec::new(),
            marks: Marks::default(),
            rules: None,
            checks: Vec::new(),
        }
    }

    /// Adds a tonic service; `grpc.health.v1` answers for its name.
    #[must_use]
    pub fn service<S: TonicService>(mut self, service: S) -> Self {
        self.routes = self.routes.add_service(service);
        self.services.push(S::NAME);
        self
    }

    /// Serves this encoded `FileDescriptorSet` by reflection (v1 and v1alpha) unless that is switched off, and learns
    /// from it the methods that metrics are kept for and which of them are unary.
    #[must_use]
    pub fn reflection(mut self, descriptor_set: &'static [u8]) -> Self {
        self.descriptor_sets.push(descriptor_set);
        self
    }

    /// Names the methods, as `package.Service/Method`, whose calls have lines in the audit trail: those that change
    /// something. Their handlers find an [`Audit`](crate::Audit) in the request's extensions.
    #[must_use]
    pub fn audited(mut self, methods: &'static [&'static str]) -> Self {
        self.marks.audited = methods;
        self
    }

    /// Names the methods that are served on [`ServeConfig::admin_grpc_listen`], if that is set, and only there.
    #[must_use]
    pub fn administrative(mut self, methods: &'static [&'static str]) -> Self {
        self.marks.administrative = methods;
        self
    }

    /// Says who may call which method. Health is open to anybody, since a load balancer's probe has no credential;
    /// reflection to every caller whose credential is valid, whatever its rights: it shows the contract, which a caller
    /// needs to know, and no data. Where callers are not asked who they are the table is checked all the same.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Adds a readiness check, run every [`ServeConfig::readiness_interval`] and given as much
    /// time. The error text is shown on `/q/health/ready`: no secrets in it. Without any check
    /// a running server is ready.
    #[must_use]
    pub fn readiness<C, F>(mut self, name: &'static str, check: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push(Check { name, run: Box::new(move || Box::pin(check())) });
        self
    }

    /// Takes all ports. From now on clients can connect; they are served by [`Bound::run`].
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(self) -> Result<Bound, BindError> {
        // Before any metric handle is made: handles belong to the recorder of their birth.
        crate::metrics::recorder();
        let health = Health::new();
        let gate = self.gate()?;
        let calls = Arc::new(self.calls(health.clone(), gate)?);
        let tls = self.config.tls.clone().map(credentials::load).transpose()?;
        let (listener, grpc) = listen(self.config.listen).await?;
        let (admin_grpc_listener, admin_grpc) = match self.config.admin_grpc_listen {
            Some(address) => listen(address).await.map(|(l, bound)| (Some(l), Some(bound)))?,
            None => (None, None),
        };
        let (admin_listener, admin) = listen(self.config.admin_listen).await?;
        let addresses = Addresses { grpc, admin_grpc, admin };
        let (config, checks) = (self.config, self.checks);
        let phase = watch::Sender::new(Phase::Serving);
        Ok(Bound {
            config,
            listener,
            admin_grpc_listener,
            admin_listener,
            addresses,
            tls,
            health,
            checks,
            calls,
            phase,
        })
    }

    fn methods(&self, sets: &[&[u8]], services: &[&str]) -> Result<Methods, BindError> {
        let is_served = |(name, _): &(&str, Access)| {
            name.split_once('/').is_some_and(|(service, _)| services.contains(&service))
        };
        let rows = self.rules.iter().flat_map(|rules| rules.methods).copied();
        let rules: HashMap<_, _> = OWN_RULES.into_iter().filter(is_served).chain(rows).collect();
        let methods =
            Methods::of(sets, services, &rules, self.marks).map_err(BindError::Descriptors)?;
        let odd = methods.at_odds_with(&rules);
        if self.rules.is_some() && !odd.is_empty() {
            return Err(BindError::Rules(odd));
        }

        let mut marked = self.marks.audited.iter().chain(self.marks.administrative);
        match marked.find(|name| !methods.knows(name)) {
            Some(unknown) => Err(BindError::UnknownMethod(unknown)),
            None => Ok(methods),
        }
    }

    fn own_services(&self) -> &'static [&'static str] {
        if self.config.reflection { &HEALTH_AND_REFLECTION } else { &HEALTH_ALONE }
    }

    fn gate(&self) -> Result<Option<Arc<Gate>>, BindError> {
        let Some(auth) = self.config.auth.clone() else { return Ok(None) };
        let rules = self.rules.ok_or(BindError::NoRules)?;
        let share = self.config.fairness.caller_share_percent;
        Ok(Some(Gate::load(auth, rules, share)?))
    }

    fn calls(&self, health: Arc<Health>, gate: Option<Arc<Gate>>) -> Result<Calls, BindError> {
        let sets: Vec<&[u8]> =
            own_sets().into_iter().chain(self.descriptor_sets.iter().copied()).collect();
        let services: Vec<&str> =
            self.own_services().iter().chain(&self.services).copied().collect();
        let grpc_health = GrpcHealth { health, services: self.services.clone() };
        let routes = self.routes.clone().add_service(health::WithList::new(grpc_health));
        let routes = match self.config.reflection {
            true => add_reflection(routes, &sets, &services).map_err(BindError::Reflection)?,
            false => routes,
        };
        let methods = self.methods(&sets, &services)?;
        let log = &self.config.audit_log;
        let trail = Trail::open(log).map_err(|why| BindError::AuditLog(log.clone(), why))?;
        Ok(Calls {
            routes: routes.prepare(),
            methods,
            trail: trail.map(Arc::new),
            gate,
            admission: Admission::new(&self.config),
            totals: Totals::new(),
            max_message_bytes: self.config.max_message_bytes,
            default_deadline: self.config.default_deadline,
            max_deadline: self.config.fairness.max_deadline,
            body_timeout: self.config.fairness.body_timeout,
            web: self.config.grpc_web.clone(),
        })
    }
}

/// What every server can serve and reflect. The types of google.rpc are among it so that tools can
/// show the details of an error.
fn own_sets() -> [&'static [u8]; 4] {
    [
        health::descriptors(),
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        tonic_types::pb::FILE_DESCRIPTOR_SET,
    ]
}

const HEALTH_ALONE: [&str; 1] = [tonic_health::pb::health_server::SERVICE_NAME];
const HEALTH_AND_REFLECTION: [&str; 3] = [
    tonic_health::pb::health_server::SERVICE_NAME,
    tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME,
    tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME,
];

const OWN_RULES: [(&str, Access); 5] = [
    ("grpc.health.v1.Health/Check", Access::Open),
    (health::LIST, Access::Open),
    ("grpc.health.v1.Health/Watch", Access::Open),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Access::Authenticated),
    ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Access::Authenticated),
];

impl Bound {
    /// Where gRPC is served, with the port the system chose if it was asked to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Where administrative methods are served, if not where all are.
    #[must_use]
    pub fn admin_grpc_addr(&self) -> Option<SocketAddr> {
        self.addresses.admin_grpc
    }

    /// Where the admin HTTP is served.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Resolves when the listener closes: all connections were told to go by then, and a caller that
    /// is told to ask again asks another process. For handlers whose calls wait for something that
    /// this process has no part in.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = PhaseWatch::new(self.phase.subscribe());
        async move { phase.closing().await }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("services", &self.services).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bound").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn add_reflection(
    routes: Routes,
    descriptor_sets: &[&[u8]],
    services: &[&str],
) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        let builder =
            tonic_reflection::server::Builder::configure().include_reflection_service(false);
        let builder = descriptor_sets
            .iter()
            .fold(builder, |builder, set| builder.register_encoded_file_descriptor_set(set));
        services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
