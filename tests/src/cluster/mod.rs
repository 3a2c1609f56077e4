//! A small cluster of real processes: pods of both services on free loopback ports.

mod binaries;
pub(crate) mod http;
pub(crate) mod metrics;
mod pod;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::HarnessError;

pub use binaries::Binaries;
pub use pod::{Pod, Service};

/// The databases of the two services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Databases {
    /// Of account-service.
    pub account: String,
    /// Of order-service.
    pub order: String,
}

/// Flags for order-service: leases short enough to be outlived or taken over within a test, the account service's timeout
/// shorter still.
pub const SHORT_LEASES: [&str; 8] = [
    "--lease",
    "1s",
    "--account-timeout",
    "400ms",
    "--settle-lease",
    "300ms",
    "--complete-interval",
    "100ms",
];

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Pods of account-service.
    pub account_pods: usize,
    /// Pods of order-service.
    pub order_pods: usize,
    /// `None`: SQLite files in the cluster's own directory.
    pub databases: Option<Databases>,
    /// Further flags for account-service.
    pub account_flags: Vec<String>,
    /// Further flags for order-service.
    pub order_flags: Vec<String>,
}

impl Default for Plan {
    /// Two pods of each on SQLite.
    fn default() -> Self {
        Self {
            account_pods: 2,
            order_pods: 2,
            databases: None,
            account_flags: Vec::new(),
            order_flags: Vec::new(),
        }
    }
}

/// Running pods. Dropped, they are killed and their files are removed.
#[derive(Debug)]
pub struct Cluster {
    /// Pods of account-service.
    pub account: Vec<Pod>,
    /// Pods of order-service.
    pub order: Vec<Pod>,
    databases: Databases,
    binaries: Binaries,
    directory: TempDir,
}

impl Cluster {
    /// Migrates both databases, starts all pods, and waits until all are ready.
    ///
    /// # Errors
    /// When a pod ends or does not become ready; the error shows the end of its log.
    pub async fn start(binaries: Binaries, plan: Plan) -> Result<Self, HarnessError> {
        let directory = TempDir::with_prefix("holdfast-")
            .map_err(HarnessError::io("make a directory for the cluster"))?;
        let databases = plan.databases.unwrap_or_else(|| sqlite_in(directory.path()));
        binaries.migrate(Service::Account, &databases.account)?;
        binaries.migrate(Service::Order, &databases.order)?;

        let make = |service, number, flags: &[String], databases: &Databases, target: &str| {
            let setup = PodSetup { service, number, flags, databases, account_target: target };
            Pod::start(setup, &binaries, directory.path())
        };
        let mut account: Vec<Pod> = (1..=plan.account_pods)
            .map(|number| make(Service::Account, number, &plan.account_flags, &databases, ""))
            .collect::<Result<_, _>>()?;
        // An order pod that finds nobody listening backs off for a second before it tries again.
        for pod in &mut account {
            pod.wait_ready().await?;
        }
        let target = target_of(&account);
        let order: Vec<Pod> = (1..=plan.order_pods)
            .map(|number| make(Service::Order, number, &plan.order_flags, &databases, &target))
            .collect::<Result<_, _>>()?;
        let mut cluster = Self { account, order, databases, binaries, directory };
        for pod in &mut cluster.order {
            pod.wait_ready().await?;
        }
        Ok(cluster)
    }

    /// Starts one more pod of order-service, with these further flags alone, and does not wait until it is ready.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn add_order_pod(&mut self, flags: &[String]) -> Result<&mut Pod, HarnessError> {
        let (databases, account_target) = (&self.databases, &*target_of(&self.account));
        let (service, number) = (Service::Order, self.order.len() + 1);
        let setup = PodSetup { service, number, flags, databases, account_target };
        self.order.push(Pod::start(setup, &self.binaries, self.directory.path())?);
        Ok(self.order.last_mut().expect("pushed above"))
    }

    /// Asks every pod to leave, order-service first, and waits until they did.
    ///
    /// # Errors
    /// When one does not leave in its bound.
    pub fn stop(&mut self) -> Result<(), HarnessError> {
        for pods in [&mut self.order, &mut self.account] {
            pods.iter().for_each(Pod::terminate);
            pods.iter_mut().try_for_each(Pod::wait_gone)?;
        }
        Ok(())
    }

    /// Reads both databases and answers each service's report on them: standard output of
    /// `verify`. Holds at rest: call it after [`Cluster::stop`] or when nothing is being placed.
    ///
    /// # Errors
    /// When either finds a breach.
    pub fn verify(&self) -> Result<[String; 2], HarnessError> {
        let account = self.binaries.verify(Service::Account, &self.databases.account)?;
        let order = self.binaries.verify(Service::Order, &self.databases.order)?;
        Ok([account, order])
    }

    /// The databases in use.
    #[must_use]
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// The programs the pods run.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Where logs and SQLite files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// What a pod is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodSetup<'plan> {
    pub(crate) service: Service,
    pub(crate) number: usize,
    pub(crate) flags: &'plan [String],
    pub(crate) databases: &'plan Databases,
    pub(crate) account_target: &'plan str,
}

/// A channel to one pod, and only it.
///
/// # Errors
/// When the pod cannot be reached.
pub async fn connect(pod: &Pod) -> Result<Channel, HarnessError> {
    connect_to(pod.address()).await
}

/// A channel to one address, and only it.
///
/// # Errors
/// When nobody answers there.
pub async fn connect_to(address: SocketAddr) -> Result<Channel, HarnessError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}

/// SQLite files in a directory.
#[must_use]
pub fn sqlite_in(directory: &Path) -> Databases {
    let url = |name: &str| {
        let file: PathBuf = directory.join(name);
        format!("sqlite://{}", file.display())
    };
    Databases { account: url("account.db"), order: url("order.db") }
}

/// `static:///a:1,b:2`.
fn target_of(pods: &[Pod]) -> String {
    let addresses: Vec<String> = pods.iter().map(|pod| pod.address().to_string()).collect();
    format!("static:///{}", addresses.join(","))
}
