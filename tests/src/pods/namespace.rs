//! Both services as they are deployed: Deployments, Services, and how they find each other.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::deployment::{self, Deployment, Status};
use super::endpoints::{Delay, Slice, View};
use super::kubelet::{Departure, Departures, Template};
use super::manifest::{Manifest, ManifestError};
use crate::HarnessError;
use crate::balancer::Balancer;
use crate::cluster::{Binaries, Databases, Service};
use crate::dns::{NameServer, Zone};
use crate::ports::free_port;

/// The bound on a pod's coming where nothing is in its way: probes, and a slow machine.
const COMING: Duration = Duration::from_secs(120);

/// The manifests of both services.
#[derive(Clone, Debug)]
pub struct Manifests {
    /// Of account-service.
    pub account: Manifest,
    /// Of order-service.
    pub order: Manifest,
}

impl Manifests {
    /// As they stand in `k8s/base`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read() -> Result<Self, ManifestError> {
        let base = Manifest::base();
        let account = Manifest::read(&base, Service::Account)?;
        Ok(Self { account, order: Manifest::read(&base, Service::Order)? })
    }

    /// As they stand in `k8s/base`, with every wait of seconds made one of tenths.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn fast() -> Result<Self, ManifestError> {
        let mut manifests = Self::read()?;
        for manifest in [&mut manifests.account, &mut manifests.order] {
            manifest.min_ready = Duration::from_millis(200);
            manifest.pre_stop = Duration::from_millis(500);
            manifest.grace = Duration::from_secs(20);
            for probe in [&mut manifest.startup, &mut manifest.readiness, &mut manifest.liveness] {
                probe.initial_delay /= 10;
                probe.period /= 10;
            }
        }
        manifests.set("LAME_DUCK", "500ms");
        manifests.set("READINESS_INTERVAL", "100ms");

        // What a killed pod leaves behind is taken over after the lease.
        let leases = [("ACCOUNT_TIMEOUT", "2s"), ("LEASE", "3s")];
        let leases = leases.map(|(name, value)| (name.to_owned(), value.to_owned()));
        manifests.order.environment.extend(leases);
        Ok(manifests)
    }

    /// Sets a flag of both services by the name of its environment variable.
    pub fn set(&mut self, variable: &str, value: &str) {
        for manifest in [&mut self.account, &mut self.order] {
            manifest.environment.insert(variable.to_owned(), value.to_owned());
        }
    }

    /// Those of one service.
    #[must_use]
    pub fn of(&self, service: Service) -> &Manifest {
        match service {
            Service::Account => &self.account,
            Service::Order => &self.order,
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The programs of the first version.
    pub binaries: Binaries,
    /// Where the books are.
    pub databases: Databases,
    /// How many pods each service begins with, and the numbers of a pod's life.
    pub manifests: Manifests,
    /// How late changes of the ready pods are seen.
    pub delay: Delay,
    /// For how many seconds a DNS answer may be kept.
    pub dns_ttl_s: u32,
}

/// Both services, running. Dropped, all pods are killed.
#[derive(Debug)]
pub struct Namespace {
    /// account-service.
    pub account: Deployment,
    /// order-service.
    pub order: Deployment,
    setup: Setup,
    account_host: String,
    account_target: String,
    cluster_ip: Balancer,
    departures: Departures,
    name_server: NameServer,
    _views: [View; 2],
    directory: TempDir,
}

impl Namespace {
    /// Starts everything and waits until all pods are available.
    ///
    /// # Errors
    /// When pods do not come; the error says where their logs are.
    ///
    /// # Panics
    /// When the order service's manifest does not name its account service by `dns:///host:port`.
    pub async fn start(setup: Setup) -> Result<Self, HarnessError> {
        let directory = TempDir::with_prefix("holdfast-pods-")
            .map_err(HarnessError::io("make a directory for pods"))?;
        let slices = [Slice::new(), Slice::new()];
        let by_dns = slices[0].seen_after(setup.delay.clone());
        let by_balancer =
            slices[1].seen_after(Delay { seed: !setup.delay.seed, ..setup.delay.clone() });
        let [account_grpc, account_admin, order_grpc, order_admin] = ports()?;

        let host = account_host(&setup.manifests.order);
        let zone = Zone { name: host.clone(), ttl_s: setup.dns_ttl_s };
        let name_server = NameServer::serve(zone, by_dns.subscribe()).await;
        let name_server = name_server.map_err(HarnessError::io("serve DNS"))?;
        let account_target = format!("dns://{}/{host}:{account_grpc}", name_server.address());
        let balancer = Balancer::serve(by_balancer.subscribe(), order_grpc, setup.delay.seed).await;
        let cluster_ip = balancer.map_err(HarnessError::io("balance"))?;

        let departures = Departures::default();
        let [account_slice, order_slice] = slices;
        let deploy = |service: Service, slice, grpc_port, admin_port| {
            Deployment::start(deployment::Setup {
                name: service.name(),
                replicas: *setup.manifests.of(service).replicas.start(),
                template: template(&setup, &setup.binaries, service, &account_target),
                grpc_port,
                admin_port,
                slice,
                directory: directory.path().to_owned(),
                departures: departures.clone(),
            })
        };
        let account = deploy(Service::Account, account_slice, account_grpc, account_admin);
        let order = deploy(Service::Order, order_slice, order_grpc, order_admin);
        let _views = [by_dns, by_balancer];
        let namespace = Self {
            account,
            order,
            setup,
            account_host: host,
            account_target,
            cluster_ip,
            departures,
            name_server,
            _views,
            directory,
        };
        namespace.until_done(COMING).await?;
        Ok(namespace)
    }

    /// Where clients outside reach order-service: a target for a channel.
    #[must_use]
    pub fn cluster_ip(&self) -> String {
        format!("http://{}", self.cluster_ip.address())
    }

    /// The name server, and the name under which it knows the account pods.
    #[must_use]
    pub fn headless(&self) -> (SocketAddr, &str) {
        (self.name_server.address(), &self.account_host)
    }

    /// One of the two.
    #[must_use]
    pub fn deployment(&self, service: Service) -> &Deployment {
        match service {
            Service::Account => &self.account,
            Service::Order => &self.order,
        }
    }

    /// Replaces all pods of a service by new ones that run these programs.
    pub async fn roll(&self, service: Service, binaries: &Binaries) {
        let template = template(&self.setup, binaries, service, &self.account_target);
        self.deployment(service).roll(template).await;
    }

    /// Waits until both Deployments are as wanted.
    ///
    /// # Errors
    /// When that is not so within the bound.
    pub async fn until_done(&self, bound: Duration) -> Result<(), HarnessError> {
        self.until(bound, "pods as wanted", |status| status.done).await
    }

    /// Waits until no pod is on its way out.
    ///
    /// # Errors
    /// When that is not so within the bound.
    pub async fn until_nobody_leaves(&self, bound: Duration) -> Result<(), HarnessError> {
        self.until(bound, "pods to be gone", |status| status.leaving().next().is_none()).await
    }

    /// The ends of all containers so far.
    #[must_use]
    pub fn departures(&self) -> Vec<Departure> {
        self.departures.all()
    }

    /// Leaves the logs behind when everything else ends.
    pub fn keep_logs(&mut self) {
        self.directory.disable_cleanup(true);
    }

    /// Where the pods log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    async fn until(
        &self,
        bound: Duration,
        what: &str,
        reached: impl Fn(&Status) -> bool,
    ) -> Result<(), HarnessError> {
        let [account, order] =
            [&self.account, &self.order].map(|it| it.until(bound, what, &reached));
        tokio::try_join!(account, order).map(drop)
    }
}

/// Free ports that all pods of a service share. They are not the manifests' own, so that a service
/// that runs on this machine besides is in nobody's way.
fn ports() -> Result<[u16; 4], HarnessError> {
    Ok([free_port()?, free_port()?, free_port()?, free_port()?])
}

/// The host in the order service's ACCOUNT_TARGET.
fn account_host(order: &Manifest) -> String {
    let target = order.environment.get("ACCOUNT_TARGET");
    let host = target.and_then(|target| target.strip_prefix("dns:///")?.rsplit_once(':'));
    host.expect("ACCOUNT_TARGET is dns:///host:port").0.to_owned()
}

fn template(
    setup: &Setup,
    binaries: &Binaries,
    service: Service,
    account_target: &str,
) -> Template {
    let manifest = setup.manifests.of(service).clone();
    let database = match service {
        Service::Account => &setup.databases.account,
        Service::Order => &setup.databases.order,
    };
    let mut environment = manifest.environment.clone();
    environment.insert("DATABASE_URL".to_owned(), database.clone());
    // A flag here, which the version before does not know; and these pods' addresses are loopback's.
    environment.remove("AUTH_INSECURE_LISTEN");
    if service == Service::Order {
        environment.insert("ACCOUNT_TARGET".to_owned(), account_target.to_owned());
    }
    let serve = environment.iter().flat_map(|(name, value)| [flag(name), value.clone()]);
    let migrate = ["migrate".to_owned(), flag("DATABASE_URL"), database.clone()];
    Template {
        program: binaries.program(service),
        migrate: migrate.into(),
        serve: serve.collect(),
        manifest,
    }
}

/// Every environment variable of the services is a flag too.
fn flag(variable: &str) -> String {
    format!("--{}", variable.to_lowercase().replace('_', "-"))
}
