//! Outlier ejection (gRFC A50): endpoints that do clearly worse than the others rest for a while.
//!
//! Two differences from A50, both on purpose. A failure is a status that speaks of the server
//! (`Code::blames_server`), a deadline that passed during the attempt, or a lost connection: a declined
//! payment is no reason to eject the one who declined it, nor is a caller that left. And when nothing but ejected endpoints is left, they are used rather than nobody.
//!
//! This file decides; it reads no clock and touches no connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{FailurePercentage, OutlierDetection, SuccessRate};
use crate::entropy::Entropy;

/// One endpoint's record with the detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ejection {
    since: Option<Instant>,
    /// Times ejected, less the intervals behaved since: ejections grow with it.
    multiplier: u32,
}

impl Ejection {
    pub(super) fn is_ejected(self) -> bool {
        self.since.is_some()
    }

    fn eject(&mut self, now: Instant) {
        self.since = Some(now);
        self.multiplier = self.multiplier.saturating_add(1);
    }

    fn is_over(self, config: &OutlierDetection, now: Instant) -> bool {
        let length = config.base_ejection.saturating_mul(self.multiplier).min(config.max_ejection);
        self.since.is_some_and(|since| now.duration_since(since) >= length)
    }
}

/// One endpoint during a look.
pub(super) struct Host<'a> {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) ejection: &'a mut Ejection,
}

impl Host<'_> {
    fn total(&self) -> u64 {
        self.succeeded + self.failed
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of one interval")]
    fn success_rate(&self) -> f64 {
        self.succeeded as f64 / self.total().max(1) as f64
    }
}

/// The look at the end of an interval. Answers how many endpoints it ejected.
pub(super) fn sweep(
    config: &OutlierDetection,
    hosts: &mut [Host<'_>],
    now: Instant,
    entropy: &Entropy,
) -> usize {
    let before = ejected(hosts);
    if let Some(rule) = &config.success_rate {
        by_success_rate(config, rule, hosts, now, entropy);
    }
    if let Some(rule) = &config.failure_percentage {
        by_failure_percentage(config, rule, hosts, now, entropy);
    }
    let fresh = ejected(hosts) - before;
    for host in hosts {
        if host.ejection.is_over(config, now) {
            host.ejection.since = None;
        } else if !host.ejection.is_ejected() {
            host.ejection.multiplier = host.ejection.multiplier.saturating_sub(1);
        }
    }
    fresh
}

/// Ejects the host at `index` for failing too often in a row, if the bound allows another ejection.
pub(super) fn suspect(
    config: &OutlierDetection,
    hosts: &mut [Host<'_>],
    index: usize,
    now: Instant,
) -> bool {
    let ejects = !hosts[index].ejection.is_ejected() && has_room(config, hosts);
    if ejects {
        hosts[index].ejection.eject(now);
    }
    ejects
}

/// How long until the next look.
pub(super) fn interval(config: &OutlierDetection) -> Duration {
    config.interval
}

fn by_success_rate(
    config: &OutlierDetection,
    rule: &SuccessRate,
    hosts: &mut [Host<'_>],
    now: Instant,
    entropy: &Entropy,
) {
    let counted = |host: &&Host<'_>| host.total() >= rule.request_volume.max(1);
    let rates: Vec<f64> = hosts.iter().filter(counted).map(Host::success_rate).collect();
    if rates.len() < rule.minimum_hosts.max(1) {
        return;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of hosts")]
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    let least = mean - variance.sqrt() * f64::from(rule.stdev_factor) / 1000.0;
    eject_where(config, rule.enforcement, hosts, now, entropy, |host| {
        host.total() >= rule.request_volume.max(1) && host.success_rate() < least
    });
}

fn by_failure_percentage(
    config: &OutlierDetection,
    rule: &FailurePercentage,
    hosts: &mut [Host<'_>],
    now: Instant,
    entropy: &Entropy,
) {
    let counts = |host: &Host<'_>| host.total() >= rule.request_volume.max(1);
    if hosts.iter().filter(|host| counts(host)).count() < rule.minimum_hosts.max(1) {
        return;
    }
    eject_where(config, rule.enforcement, hosts, now, entropy, |host| {
        counts(host) && host.failed * 100 > u64::from(rule.threshold) * host.total()
    });
}

fn eject_where(
    config: &OutlierDetection,
    enforcement: u32,
    hosts: &mut [Host<'_>],
    now: Instant,
    entropy: &Entropy,
    is_outlier: impl Fn(&Host<'_>) -> bool,
) {
    for index in 0..hosts.len() {
        if !has_room(config, hosts) {
            return;
        }
        let host = &mut hosts[index];
        let enforced = entropy.below(100) < enforcement as usize;
        if !host.ejection.is_ejected() && is_outlier(host) && enforced {
            host.ejection.eject(now);
        }
    }
}

fn ejected(hosts: &[Host<'_>]) -> usize {
    hosts.iter().filter(|host| host.ejection.is_ejected()).count()
}

/// Whether the share of ejected endpoints is still below the bound.
fn has_room(config: &OutlierDetection, hosts: &[Host<'_>]) -> bool {
    ejected(hosts) * 100 < hosts.len() * config.max_ejection_percent as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(json: &str) -> OutlierDetection {
        let json = format!(
            r#"{{"loadBalancingConfig": [{{"outlier_detection_experimental": {{
                "childPolicy": [{{"round_robin": {{}}}}], {json}
            }}}}]}}"#
        );
        crate::ServiceConfig::parse(&json).unwrap().outlier.unwrap()
    }

    fn look(
        config: &OutlierDetection,
        tallies: &[(u64, u64)],
        ejections: &mut [Ejection],
        now: Instant,
    ) -> Vec<bool> {
        let host = |(tally, ejection)| {
            let (succeeded, failed): (u64, u64) = tally;
            Host { succeeded, failed, ejection }
        };
        let mut hosts: Vec<_> =
            tallies.iter().copied().zip(ejections.iter_mut()).map(host).collect();
        sweep(config, &mut hosts, now, &Entropy::seeded(3));
        ejections.iter().map(|ejection| ejection.is_ejected()).collect()
    }

    #[test]
    fn the_one_whose_success_rate_lies_far_below_the_others_is_ejected() {
        let config = config(r#""successRateEjection": {}"#);
        let mut ejections = [Ejection::default(); 6];
        let tallies = [(100, 0), (99, 1), (100, 0), (98, 2), (100, 0), (20, 80)];
        let ejected = look(&config, &tallies, &mut ejections, Instant::now());
        assert_eq!(ejected, [false, false, false, false, false, true]);
    }

    #[test]
    fn too_few_hosts_or_too_few_calls_eject_nobody() {
        let config = config(r#""successRateEjection": {}, "failurePercentageEjection": {}"#);
        let now = Instant::now();
        assert_eq!(look(&config, &[(0, 100); 4], &mut [Ejection::default(); 4], now), [false; 4]);
        assert_eq!(look(&config, &[(0, 49); 6], &mut [Ejection::default(); 6], now), [false; 6]);
    }

    #[test]
    fn ejections_last_longer_each_time_and_end() {
        let config = config(
            r#""baseEjectionTime": "30s", "failurePercentageEjection": {"minimumHosts": 2}"#,
        );
        let (bad, good) = ((0, 100), (100, 0));
        let mut ejections = [Ejection::default(); 2];
        let start = Instant::now();
        let mut at = |seconds, tallies: [(u64, u64); 2]| {
            let now = start + Duration::from_secs(seconds);
            look(&config, &tallies, &mut ejections, now)[0]
        };
        assert!(at(0, [bad, good]));
        assert!(at(29, [(0, 0), good]));
        assert!(!at(30, [(0, 0), good]), "over after one base time");
        assert!(at(31, [bad, good]), "ejected again");
        assert!(at(90, [(0, 0), good]), "twice as long");
        assert!(!at(91, [(0, 0), good]));
    }

    proptest! {
        #[test]
        fn never_more_than_the_share_and_one_are_ejected(
            tallies in prop::collection::vec((0u64..200, 0u64..200), 1..30),
            percent in 0u32..=100,
        ) {
            let config = config(&format!(
                r#""maxEjectionPercent": {percent}, "successRateEjection": {{"minimumHosts": 1, "requestVolume": 1}},
                   "failurePercentageEjection": {{"minimumHosts": 1, "requestVolume": 1, "threshold": 10}}"#
            ));
            let mut ejections = vec![Ejection::default(); tallies.len()];
            let ejected = look(&config, &tallies, &mut ejections, Instant::now());
            let ejected = ejected.iter().filter(|ejected| **ejected).count();
            prop_assert!(ejected * 100 < tallies.len() * percent as usize + 100);
            prop_assert!(percent > 0 || ejected == 0);
        }
    }
}
