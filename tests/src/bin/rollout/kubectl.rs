//! Events in a cluster of somebody else's, by kubectl and whatever it is logged in to.
//!
//! Needs Deployments called as the services are, and pods labelled `app.kubernetes.io/name` as
//! k8s/base does. Every command is given [`PATIENCE`] and ended after it.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;

use rand::RngExt;
use rand::rngs::StdRng;
use tests::cluster::Service;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::measure::Shares;
use crate::plan::{BOTH, Event};
use crate::scene::Scene;
use crate::stage::PATIENCE;

/// What is given to kubectl to give up by itself.
const TIMEOUT: &str = "--timeout=170s";

/// A namespace of a cluster.
pub(crate) struct Kubectl {
    program: PathBuf,
    namespace: String,
    departures: usize,
}

impl Kubectl {
    pub(crate) fn new(program: impl Into<PathBuf>, namespace: &str) -> Self {
        Self { program: program.into(), namespace: namespace.to_owned(), departures: 0 }
    }

    async fn roll(&mut self, services: &[Service]) -> Result<(), Box<dyn Error>> {
        let mut before = BTreeSet::new();
        for service in services {
            before.extend(self.pods(*service).await?);
            self.run(["rollout", "restart", &deployment(*service)]).await?;
        }
        self.settle(services, &before).await
    }

    async fn delete(&mut self, random: &mut StdRng) -> Result<(), Box<dyn Error>> {
        let mut victims = BTreeSet::new();
        for service in BOTH {
            let pods = self.pods(service).await?;
            if !pods.is_empty() {
                victims.insert(pods[random.random_range(0..pods.len())].clone());
            }
        }
        for victim in &victims {
            self.run(["delete", "--wait=false", victim]).await?;
        }
        self.settle(&BOTH, &victims).await
    }

    /// Waits until the Deployments are complete and these pods are gone.
    async fn settle(
        &mut self,
        services: &[Service],
        leaving: &BTreeSet<String>,
    ) -> Result<(), Box<dyn Error>> {
        for service in services {
            self.run(["rollout", "status", TIMEOUT, &deployment(*service)]).await?;
        }
        if !leaving.is_empty() {
            let wait = ["wait", "--for=delete", TIMEOUT].into_iter();
            self.run(wait.chain(leaving.iter().map(String::as_str))).await?;
        }
        self.departures += leaving.len();
        Ok(())
    }

    /// `pod/name` of every pod of a service.
    async fn pods(&self, service: Service) -> Result<Vec<String>, Box<dyn Error>> {
        let selector = format!("--selector=app.kubernetes.io/name={}", service.name());
        let listed = self.run(["get", "pods", "--output=name", &selector]).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, Box<dyn Error>> {
        let mut command = Command::new(&self.program);
        command.arg("--namespace").arg(&self.namespace).args(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await??;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
    }
}

fn deployment(service: Service) -> String {
    format!("deployment/{}", service.name())
}

impl Scene for Kubectl {
    async fn happen(&mut self, event: Event, random: &mut StdRng) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Roll(services) => self.roll(services).await,
            Event::Delete => self.delete(random).await,
            Event::Update
            | Event::Kill
            | Event::ScaleUp
            | Event::ScaleDown
            | Event::RestartDatabase => {
                Err(format!("{} is not done to somebody else's cluster", event.name()).into())
            }
        }
    }

    fn ended(&self) -> [usize; 2] {
        [self.departures, 0]
    }

    /// The pods' metrics are out of reach.
    async fn spread(&self, _since: Instant) -> Option<Shares> {
        None
    }
}

#[cfg(test)]
mod unit {
    use std::os::unix::fs::PermissionsExt;

    use rand::SeedableRng;

    use super::*;

    /// A program in kubectl's place that lists two pods and writes down what it is asked.
    fn kubectl(directory: &tempfile::TempDir, last_line: &str) -> Kubectl {
        let (program, log) = (directory.path().join("kubectl"), directory.path().join("log"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\ncase \"$*\" in *get*) echo pod/a; echo pod/b;; esac\n{last_line}\n",
            log.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Kubectl::new(program, "shop")
    }

    #[tokio::test]
    async fn a_roll_waits_for_the_deployment_and_for_the_old_pods_end() {
        let directory = tempfile::tempdir().unwrap();
        let mut kubectl = kubectl(&directory, "exit 0");
        let mut random = StdRng::seed_from_u64(1);
        kubectl.happen(Event::Roll(&[Service::Order]), &mut random).await.unwrap();
        let asked = std::fs::read_to_string(directory.path().join("log")).unwrap();
        let asked: Vec<_> = asked.lines().collect();
        assert_eq!(
            asked,
            [
                "--namespace shop get pods --output=name --selector=app.kubernetes.io/name=order-service",
                "--namespace shop rollout restart deployment/order-service",
                "--namespace shop rollout status --timeout=170s deployment/order-service",
                "--namespace shop wait --for=delete --timeout=170s pod/a pod/b",
            ]
        );
        assert_eq!(kubectl.ended(), [2, 0]);
    }

    #[tokio::test]
    async fn what_kubectl_refuses_is_an_error_with_its_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut kubectl = kubectl(&directory, "echo forbidden >&2; exit 1");
        let mut random = StdRng::seed_from_u64(1);
        let refused = kubectl.happen(Event::Delete, &mut random).await.unwrap_err();
        assert_eq!(refused.to_string(), "kubectl: forbidden");
    }
}
