//! Events on pods of one's own.

use std::error::Error;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tests::cluster::Service;
use tests::pods::{Cause, Deployment, PodStatus, Status};
use tokio::time::{Instant, sleep_until};

use crate::measure::Shares;
use crate::plan::{BOTH, Event};
use crate::scene::Scene;
use crate::stage::{DELAY, PATIENCE, Stage};

/// How long after an event clients are spread evenly again.
const SPREAD_WITHIN: Duration = Duration::from_secs(60);

/// What calls of a pod are counted by.
const COUNTED: [(Service, &str); 2] = [
    (Service::Account, "account.v1.AccountService/Apply"),
    (Service::Order, "order.v1.OrderService/PlaceOrder"),
];

impl Scene for Stage {
    async fn happen(&mut self, event: Event, random: &mut StdRng) -> Result<(), Box<dyn Error>> {
        match event {
            Event::Update => roll(self, &BOTH).await,
            Event::Roll(services) => roll(self, services).await,
            Event::Delete => delete(self, random).await,
            Event::Kill => kill(self, random).await?,
            Event::ScaleUp => scale(self, |replicas| *replicas.end()).await,
            Event::ScaleDown => scale(self, |replicas| *replicas.start()).await,
            Event::RestartDatabase => {
                let postgres = self.postgres.as_mut().ok_or("somebody else's database")?;
                postgres.stop()?;
                postgres.start_again().await?;
            }
        }
        self.namespace.until_done(PATIENCE).await?;
        Ok(self.namespace.until_nobody_leaves(PATIENCE).await?)
    }

    fn ended(&self) -> [usize; 2] {
        let departures = self.namespace.departures();
        [Cause::Deleted, Cause::Killed]
            .map(|cause| departures.iter().filter(|departure| departure.cause == cause).count())
    }

    /// Once every connection has reached its age that is older than the news of the event, until
    /// [`SPREAD_WITHIN`]. Where that is never so, of the last third of it.
    async fn spread(&self, since: Instant) -> Option<Shares> {
        let dealt_again = DELAY[1] + self.connection_age().mul_f64(1.1);
        sleep_until(since + dealt_again.min(SPREAD_WITHIN.mul_f64(2.0 / 3.0))).await;
        let before = counts(self).await;
        sleep_until(since + SPREAD_WITHIN).await;
        let after = counts(self).await;
        let [in_cluster, outside] =
            [0, 1].map(|index| largest_share(&before[index], &after[index]));
        Some(Shares { outside: outside?, in_cluster: in_cluster? })
    }
}

async fn roll(stage: &Stage, services: &[Service]) {
    for service in services {
        stage.namespace.roll(*service, &stage.binaries).await;
    }
}

async fn scale(stage: &Stage, wanted: impl Fn(&RangeInclusive<usize>) -> usize) {
    for service in BOTH {
        let replicas = wanted(&stage.manifests.of(service).replicas);
        stage.namespace.deployment(service).scale(replicas).await;
    }
}

async fn delete(stage: &Stage, random: &mut StdRng) {
    for service in BOTH {
        let deployment = stage.namespace.deployment(service);
        if let Some(pod) = victim(&deployment.status(), random) {
            deployment.delete(pod.number).await;
        }
    }
}

/// SIGKILL to a pod of each service, and their return.
async fn kill(stage: &Stage, random: &mut StdRng) -> Result<(), Box<dyn Error>> {
    let deployments = BOTH.map(|service| stage.namespace.deployment(service));
    let mut killed: Vec<(&Deployment, PodStatus)> = Vec::new();
    for deployment in deployments {
        if let Some(pod) = victim(&deployment.status(), random) {
            deployment.kill(pod.number).await;
            killed.push((deployment, pod));
        }
    }
    for (deployment, pod) in killed {
        let is_back = |status: &Status| {
            let again = |it: &PodStatus| it.number == pod.number && it.restarts > pod.restarts;
            status.done && status.ready().any(again)
        };
        deployment.until(PATIENCE, &format!("{} to come back", pod.name), is_back).await?;
    }
    Ok(())
}

/// Any of the ready pods that were killed least often: a container that dies again and again is
/// kept waiting ever longer, which is another story.
fn victim(status: &Status, random: &mut StdRng) -> Option<PodStatus> {
    let fewest = status.ready().map(|pod| pod.restarts).min()?;
    let candidates: Vec<_> = status.ready().filter(|pod| pod.restarts == fewest).collect();
    Some(candidates[random.random_range(0..candidates.len())].clone())
}

/// Calls that each pod has begun, by its name and restarts, for both services.
async fn counts(stage: &Stage) -> [Vec<((String, u32), u64)>; 2] {
    let mut counts = [Vec::new(), Vec::new()];
    for ((service, method), counts) in COUNTED.into_iter().zip(&mut counts) {
        for pod in stage.namespace.deployment(service).status().ready() {
            if let Some(calls) = pod.calls_started(method).await {
                counts.push(((pod.name.clone(), pod.restarts), calls));
            }
        }
    }
    counts
}

/// The most calls of one pod over the mean. `None` when the pods were not the same at both ends.
fn largest_share<P: PartialEq>(before: &[(P, u64)], after: &[(P, u64)]) -> Option<f64> {
    let same = before.iter().map(|(pod, _)| pod).eq(after.iter().map(|(pod, _)| pod));
    let calls = before.iter().zip(after).map(|((_, then), (_, now))| now.saturating_sub(*then));
    let calls: Vec<u64> = calls.collect();
    let total: u64 = calls.iter().sum();
    if !same || total == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of calls, and of a few pods")]
    let mean = total as f64 / calls.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let largest = calls.into_iter().max()? as f64;
    Some(largest / mean)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_largest_share_is_held_against_the_mean_of_the_same_pods() {
        let (before, after) = ([("a", 10), ("b", 0)], [("a", 40), ("b", 10)]);
        assert_eq!(largest_share(&before, &after), Some(1.5));
        assert_eq!(largest_share(&before, &before), None);
        assert_eq!(largest_share(&before, &[("a", 40), ("c", 10)]), None);
        assert_eq!(largest_share(&before, &after[..1]), None);
    }
}
