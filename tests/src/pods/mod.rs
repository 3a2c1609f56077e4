//! Pods as Kubernetes treats them: real processes on loopback addresses of their own, under
//! Deployments, behind Services, with the numbers that stand in `k8s/base`.
//!
//! | in a cluster | here |
//! |---|---|
//! | a pod's network | an address `127.x.y.z` of its own, the same ports in every pod |
//! | kubelet | `kubelet`: init container, probes, restarts, preStop, SIGTERM, grace, SIGKILL |
//! | Deployment | [`Deployment`]: rolling update by maxSurge, maxUnavailable, minReadySeconds; scale |
//! | EndpointSlice | `endpoints`: the ready pods; whoever routes learns late, by a seeded delay |
//! | headless Service | [`NameServer`](crate::dns::NameServer): order pods find account pods by it |
//! | ClusterIP | [`Balancer`](crate::balancer::Balancer): clients outside reach order pods through it |
//!
//! What is left out: nodes, eviction, CPU and memory limits, network policy.
//!
//! A [`Namespace`] holds all of it. Dropped, everything ends. It has to be started on a runtime that
//! stays: the system kills a pod whose starting thread ends.

mod controller;
mod deployment;
mod endpoints;
mod foreign;
mod kubelet;
mod manifest;
mod namespace;
mod probe;

pub use self::deployment::{Deployment, PodStatus, Status};
pub use self::endpoints::Delay;
pub use self::foreign::{Outcomes, place_through_changes};
pub use self::kubelet::{Cause, Departure};
pub use self::manifest::{Manifest, ManifestError};
pub use self::namespace::{Manifests, Namespace, Setup};
pub use self::probe::Probe;
