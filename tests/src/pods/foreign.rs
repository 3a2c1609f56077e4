//! Clients in other languages, set up by the files of `k8s/clients` alone, while pods come and go.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use client::Channel;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::{Delay, Deployment, Manifests, Namespace, Setup};
use crate::HarnessError;
use crate::cluster::{Binaries, Service, sqlite_in};
use crate::load::{Opening, open_accounts};

/// An event, or a word from the client, takes no longer; a call may take half of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calm between two events, several lives of a connection.
const CALM: Duration = Duration::from_secs(2);

/// What a client counted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Outcomes {
    /// Orders that were placed.
    pub answered: u64,
    /// Calls that failed, by code and message.
    pub failed: BTreeMap<String, u64>,
}

/// A client that places orders until it is told to stop. Killed with its owner.
struct Caller {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// Rolls, deletes, scales and kills the pods of both services while one client places orders through the ClusterIP, then
/// verifies the books. `client` makes its command from its target and the directory of its configuration.
///
/// # Errors
/// When pods, client or books are not as they should be. Failed calls are no error here: they are counted.
pub async fn place_through_changes(
    client: impl FnOnce(&str, &Path) -> Command,
) -> Result<Outcomes, HarnessError> {
    let books = tempfile::tempdir().map_err(HarnessError::io("make a directory for the books"))?;
    let (databases, binaries) = (sqlite_in(books.path()), Binaries::build()?);
    let manifests = Manifests::fast().map_err(io::Error::other);
    let mut manifests = manifests.map_err(HarnessError::io("read k8s/base"))?;
    manifests.set("CONNECTION_AGE", "1s");
    let range = Duration::from_millis(5)..=Duration::from_millis(200);
    let namespace = Namespace::start(Setup {
        binaries: binaries.clone(),
        databases: databases.clone(),
        manifests,
        delay: Delay { range, seed: 11 },
        dns_ttl_s: 1,
    })
    .await?;
    open_account(&namespace).await?;

    let target = namespace.cluster_ip();
    let target = target.strip_prefix("http://").expect("a target of ours");
    let mut caller = Caller::start(client(target, &configuration())).await?;
    change(&namespace, &binaries).await?;
    let outcomes = caller.stop().await?;

    drop(namespace);
    binaries.verify(Service::Account, &databases.account)?;
    binaries.verify(Service::Order, &databases.order)?;
    Ok(outcomes)
}

async fn open_account(namespace: &Namespace) -> Result<(), HarnessError> {
    let status = namespace.account.status();
    let pod = status.ready().next().expect("a namespace starts with pods that are ready");
    let accounts = Channel::builder(format!("http://{}", pod.grpc)).build();
    let accounts = accounts.map_err(io::Error::other).map_err(HarnessError::io("find a pod"))?;
    open_accounts(&accounts, Opening { accounts: 1..=1, balance: 1_000_000_000 }).await
}

/// Every graceful event, then SIGKILL.
async fn change(namespace: &Namespace, binaries: &Binaries) -> Result<(), HarnessError> {
    let services = [Service::Account, Service::Order];
    for service in services {
        namespace.roll(service, binaries).await;
        calm(namespace).await?;
    }
    for service in services {
        let deployment = namespace.deployment(service);
        deployment.delete(first_ready(deployment)).await;
        calm(namespace).await?;
    }
    for replicas in [4, 2] {
        namespace.order.scale(replicas).await;
        calm(namespace).await?;
    }
    for service in services {
        let deployment = namespace.deployment(service);
        let killed = first_ready(deployment);
        deployment.kill(killed).await;
        let is_back = |status: &super::Status| {
            status.ready().any(|pod| pod.number == killed && pod.restarts == 1)
        };
        deployment.until(PATIENCE, "the killed pod to come back", is_back).await?;
        calm(namespace).await?;
    }
    Ok(())
}

async fn calm(namespace: &Namespace) -> Result<(), HarnessError> {
    namespace.until_done(PATIENCE).await?;
    namespace.until_nobody_leaves(PATIENCE).await?;
    sleep(CALM).await;
    Ok(())
}

fn first_ready(deployment: &Deployment) -> u32 {
    deployment.status().ready().next().expect("a Deployment at rest has ready pods").number
}

/// `k8s/clients` of this workspace.
fn configuration() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/clients")
}

impl Caller {
    async fn start(mut command: Command) -> Result<Self, HarnessError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(HarnessError::io("start a foreign client"))?;
        let output = process.stdout.take().expect("its standard output is a pipe");
        let mut caller = Self { process, output: BufReader::new(output).lines() };
        caller.line().await?;
        Ok(caller)
    }

    async fn line(&mut self) -> Result<String, HarnessError> {
        let line = timeout(PATIENCE, self.output.next_line()).await;
        let line = line.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let line = line.and_then(|line| line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()));
        line.map_err(HarnessError::io("hear a foreign client"))
    }

    async fn stop(&mut self) -> Result<Outcomes, HarnessError> {
        drop(self.process.stdin.take());
        let line = self.line().await?;
        let outcomes = serde_json::from_str(&line).map_err(io::Error::other);
        outcomes.map_err(HarnessError::io("understand a foreign client"))
    }
}
