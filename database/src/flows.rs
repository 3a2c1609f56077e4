//! A queue in which callers take turns, so that who queues much waits for itself and not for everybody.
//!
//! Jobs of one *flow* stay in their order; of all flows that have something waiting each gives one job in turn. A job
//! waits for at most one job per other flow and each of its own flow before it, however many those others queued.

use std::collections::{HashMap, VecDeque};

/// Jobs by flow.
#[derive(Debug)]
pub(crate) struct Flows<J> {
    waiting: HashMap<u64, VecDeque<J>>,
    /// The flows that have something waiting, each once.
    turns: VecDeque<u64>,
    len: usize,
}

impl<J> Flows<J> {
    pub(crate) fn new() -> Self {
        Self { waiting: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, flow: u64, job: J) {
        let jobs = self.waiting.entry(flow).or_default();
        if jobs.is_empty() {
            self.turns.push_back(flow);
        }
        jobs.push_back(job);
        self.len += 1;
    }

    /// The next jobs, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> Vec<J> {
        let mut taken = Vec::with_capacity(most.min(self.len));
        while taken.len() < most {
            let Some(flow) = self.turns.pop_front() else { break };
            let Some(jobs) = self.waiting.get_mut(&flow) else { continue };
            taken.extend(jobs.pop_front());
            match jobs.is_empty() {
                true => drop(self.waiting.remove(&flow)),
                false => self.turns.push_back(flow),
            }
        }
        self.len -= taken.len();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_for_one_of_each_other_flow_and_for_those_of_its_own_before_it() {
        let mut flows = Flows::new();
        for job in 0..1_000 {
            flows.push(1, (1, job));
        }
        flows.push(2, (2, 0));
        flows.push(2, (2, 1));
        flows.push(3, (3, 0));
        assert_eq!(flows.take(6), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
        assert_eq!((flows.len(), flows.waiting.len()), (997, 1));
        assert_eq!(flows.take(2_000).len(), 997);
        assert_eq!((flows.len(), flows.waiting.len(), flows.turns.len()), (0, 0, 0));
    }
}
