//! The numbers of a Deployment, read from `k8s/base`: how many pods it has, how they start, are asked,
//! leave and are replaced, and the flags they run with.
//!
//! Only what the harness acts on is read, and all of that has to be there: a manifest without a
//! probe or a preStop is an error here, not a default.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::probe::Probe;
use crate::cluster::Service;

/// What the manifests of one service say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Pods that the autoscaler may want.
    pub replicas: RangeInclusive<usize>,
    /// Pods above the wanted number while a new version comes.
    pub max_surge: usize,
    /// Pods below the wanted number while a new version comes.
    pub max_unavailable: usize,
    /// Ready for so long, a pod counts as available.
    pub min_ready: Duration,
    /// From a pod's deletion to SIGTERM.
    pub pre_stop: Duration,
    /// From a pod's deletion to SIGKILL.
    pub grace: Duration,
    /// Must hold once before the others are asked.
    pub startup: Probe,
    /// Whether calls are routed to the pod.
    pub readiness: Probe,
    /// Whether the container is left running.
    pub liveness: Probe,
    /// Flags by the names of their environment variables.
    pub environment: BTreeMap<String, String>,
}

/// Why manifests cannot be used.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is no Deployment as the harness knows them.
    #[error("{path} is not understood: {why}", path = .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
}

impl Manifest {
    /// Reads a service's manifests from a directory laid out like `k8s/base`.
    ///
    /// # Errors
    /// When something is missing or of another form.
    pub fn read(base: &Path, service: Service) -> Result<Self, ManifestError> {
        let folder = base.join(service.name());
        let mut environment = variables(&base.join("serving.env"))?;
        environment.extend(variables(&folder.join(format!("{}.env", service.name())))?);

        let autoscaler: Autoscaler = parsed(&folder.join("autoscaler.yaml"))?;
        let replicas = autoscaler.spec.min_replicas..=autoscaler.spec.max_replicas;

        let path = folder.join("deployment.yaml");
        let deployment: Deployment = parsed(&path)?;
        let numbers = deployment.numbers(replicas, environment);
        numbers.map_err(|why| ManifestError::Form { path, why: why.to_owned() })
    }

    /// `k8s/base` of this workspace.
    #[must_use]
    pub fn base() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/base")
    }
}

/// Lines of `NAME=value`, with comments, as kustomize reads them.
fn variables(path: &Path) -> Result<BTreeMap<String, String>, ManifestError> {
    let text = text(path)?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| {
        let pair = line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let why = || format!("{line:?} is not NAME=value");
        pair.ok_or_else(|| ManifestError::Form { path: path.to_owned(), why: why() })
    });
    pairs.collect()
}

fn parsed<T: DeserializeOwned>(path: &Path) -> Result<T, ManifestError> {
    let form = |error: serde_saphyr::Error| ManifestError::Form {
        path: path.to_owned(),
        why: error.to_string(),
    };
    serde_saphyr::from_str(&text(path)?).map_err(form)
}

fn text(path: &Path) -> Result<String, ManifestError> {
    let read = std::fs::read_to_string(path);
    read.map_err(|source| ManifestError::Read { path: path.to_owned(), source })
}

// The parts of `autoscaling/v2` HorizontalPodAutoscaler and `apps/v1` Deployment that count here. Unknown fields are not
// looked at.

#[derive(Deserialize)]
struct Autoscaler {
    spec: AutoscalerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AutoscalerSpec {
    min_replicas: usize,
    max_replicas: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deployment {
    spec: DeploymentSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentSpec {
    #[serde(default)]
    min_ready_seconds: u64,
    strategy: Strategy,
    template: Template,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    rolling_update: RollingUpdate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate {
    max_surge: usize,
    max_unavailable: usize,
}

#[derive(Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    termination_grace_period_seconds: u64,
    containers: Vec<Container>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    lifecycle: Lifecycle,
    startup_probe: HttpProbe,
    readiness_probe: HttpProbe,
    liveness_probe: HttpProbe,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    pre_stop: PreStop,
}

#[derive(Deserialize)]
struct PreStop {
    sleep: Sleep,
}

#[derive(Deserialize)]
struct Sleep {
    seconds: u64,
}

/// Defaults are those of Kubernetes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpProbe {
    http_get: HttpGet,
    #[serde(default)]
    initial_delay_seconds: u64,
    #[serde(default = "ten")]
    period_seconds: u64,
    #[serde(default = "one")]
    timeout_seconds: u64,
    #[serde(default = "three")]
    failure_threshold: u32,
    #[serde(default = "one")]
    success_threshold: u32,
}

#[derive(Deserialize)]
struct HttpGet {
    path: String,
    port: String,
}

fn one<N: From<u8>>() -> N {
    N::from(1)
}

fn three() -> u32 {
    3
}

fn ten() -> u64 {
    10
}

impl Deployment {
    fn numbers(
        self,
        replicas: RangeInclusive<usize>,
        environment: BTreeMap<String, String>,
    ) -> Result<Manifest, &'static str> {
        let DeploymentSpec { min_ready_seconds, strategy, template } = self.spec;
        let rolling = strategy.rolling_update;
        if rolling.max_surge == 0 && rolling.max_unavailable == 0 {
            return Err("maxSurge and maxUnavailable are both 0");
        }
        let PodSpec { termination_grace_period_seconds, containers } = template.spec;
        let [container] =
            <[Container; 1]>::try_from(containers).map_err(|_| "not one container")?;
        if replicas.is_empty() || *replicas.start() == 0 {
            return Err("the autoscaler wants no pods");
        }
        Ok(Manifest {
            replicas,
            max_surge: rolling.max_surge,
            max_unavailable: rolling.max_unavailable,
            min_ready: Duration::from_secs(min_ready_seconds),
            pre_stop: Duration::from_secs(container.lifecycle.pre_stop.sleep.seconds),
            grace: Duration::from_secs(termination_grace_period_seconds),
            startup: container.startup_probe.probe()?,
            readiness: container.readiness_probe.probe()?,
            liveness: container.liveness_probe.probe()?,
            environment,
        })
    }
}

impl HttpProbe {
    fn probe(self) -> Result<Probe, &'static str> {
        if self.http_get.port != "admin" {
            return Err("a probe does not ask the port called admin");
        }
        if self.period_seconds == 0 || self.timeout_seconds == 0 {
            return Err("a probe without a period or a timeout");
        }
        Ok(Probe {
            path: self.http_get.path,
            initial_delay: Duration::from_secs(self.initial_delay_seconds),
            period: Duration::from_secs(self.period_seconds),
            timeout: Duration::from_secs(self.timeout_seconds),
            failure_threshold: self.failure_threshold,
            success_threshold: self.success_threshold,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: [&str; 2] = ["account-service", "order-service"];

    /// A copy of `k8s/base` with one change in the order service's Deployment.
    fn changed(from: &str, to: &str) -> Result<Manifest, ManifestError> {
        let copy = tempfile::tempdir().unwrap();
        for file in
            ["serving.env", "order-service/order-service.env", "order-service/autoscaler.yaml"]
        {
            std::fs::create_dir_all(copy.path().join("order-service")).unwrap();
            std::fs::copy(Manifest::base().join(file), copy.path().join(file)).unwrap();
        }
        let file = "order-service/deployment.yaml";
        let text = std::fs::read_to_string(Manifest::base().join(file)).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(copy.path().join(file), text.replace(from, to)).unwrap();
        Manifest::read(copy.path(), Service::Order)
    }

    #[test]
    fn the_manifests_of_both_services_are_read_whole() {
        for (service, name) in [Service::Account, Service::Order].into_iter().zip(BASE) {
            let manifest = Manifest::read(&Manifest::base(), service).unwrap();
            assert!(manifest.pre_stop > Duration::ZERO && manifest.grace > manifest.pre_stop);
            assert_eq!(manifest.readiness.path, "/q/health/ready", "{name}");
            assert!(manifest.environment.contains_key("LAME_DUCK"), "{name}");
            assert_eq!(manifest.replicas, 2..=4, "{name}");
        }
    }

    #[test]
    fn a_number_that_is_changed_or_gone_is_noticed() {
        let changed_sleep = changed("seconds: 10\n", "seconds: 11\n").unwrap();
        assert_eq!(changed_sleep.pre_stop, Duration::from_secs(11));
        for (from, to) in [
            ("preStop", "postStart"),
            ("readinessProbe", "somethingElse"),
            ("port: admin", "port: grpc"),
            ("maxSurge: 1", "maxSurge: 0"),
            ("terminationGracePeriodSeconds: ", "terminationGracePeriodSeconds: x"),
        ] {
            let refused = changed(from, to);
            assert!(matches!(refused, Err(ManifestError::Form { .. })), "{from}: {refused:?}");
        }
    }
}
