//! What the kubelet makes of a probe's answers.

use std::time::Duration;

/// How a probe asks, as a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Path on the admin port.
    pub path: String,
    /// From the container's start to the first question.
    pub initial_delay: Duration,
    /// From one question to the next.
    pub period: Duration,
    /// A later answer is none.
    pub timeout: Duration,
    /// Bad answers in a row that count.
    pub failure_threshold: u32,
    /// Good answers in a row that count.
    pub success_threshold: u32,
}

/// Counts answers in a row.
#[derive(Debug)]
pub(crate) struct Tally {
    needed: [u32; 2],
    in_a_row: u32,
    last: bool,
    verdict: Option<bool>,
}

impl Tally {
    pub(crate) fn new(probe: &Probe) -> Self {
        let needed = [probe.failure_threshold, probe.success_threshold];
        Self { needed, in_a_row: 0, last: false, verdict: None }
    }

    /// The verdict, if this answer changes it.
    pub(crate) fn hear(&mut self, good: bool) -> Option<bool> {
        self.in_a_row = if good == self.last { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = good;
        let decided = self.in_a_row >= self.needed[usize::from(good)];
        let changed = decided && self.verdict != Some(good);
        changed.then(|| *self.verdict.insert(good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(failures: u32, successes: u32, answers: &str) -> Vec<(usize, bool)> {
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(&Probe {
            path: "/".to_owned(),
            initial_delay: second,
            period: second,
            timeout: second,
            failure_threshold: failures,
            success_threshold: successes,
        });
        let heard = answers.chars().map(|answer| tally.hear(answer == '+')).enumerate();
        heard.filter_map(|(at, verdict)| verdict.map(|verdict| (at, verdict))).collect()
    }

    #[test]
    fn only_enough_answers_in_a_row_change_the_verdict_and_only_once() {
        assert_eq!(verdicts(3, 1, "--+++--+---+"), [(2, true), (10, false), (11, true)]);
        assert_eq!(verdicts(1, 2, "+-++-"), [(1, false), (3, true), (4, false)]);
        assert_eq!(verdicts(3, 1, "--"), []);
    }
}
